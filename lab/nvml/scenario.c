/*
 * Settings from two files: the defaults (rendered from the hardware profile) and, on top of them, the scenario (what a
 * person or a test wants to see). Both are replaced by atomic rename and noticed by modification time, inode and size.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "state.h"

struct file_mark {
    bool there;
    struct timespec modified;
    ino_t inode;
    off_t size;
};

static struct settings current;
static struct file_mark defaults_mark, scenario_mark;
static bool loaded;

const char *environment_or(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

static struct file_mark mark_of(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return (struct file_mark){.there = false};
    return (struct file_mark){true, status.st_mtim, status.st_ino, status.st_size};
}

static bool same_mark(const struct file_mark *a, const struct file_mark *b)
{
    return a->there == b->there && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

const struct settings *settings_current(void)
{
    const char *defaults = environment_or("FLEETWARD_NVML_DEFAULTS", "/etc/fleetward/nvml/defaults.conf");
    const char *scenario = environment_or("FLEETWARD_NVML_SCENARIO", "/etc/fleetward/nvml/scenario.conf");
    struct file_mark now_defaults = mark_of(defaults), now_scenario = mark_of(scenario);
    if (loaded && same_mark(&now_defaults, &defaults_mark) && same_mark(&now_scenario, &scenario_mark))
        return &current;
    if (!loaded)
        settings_built_in(&current);
    static struct settings next;
    settings_built_in(&next);
    if (settings_apply(&next, &current, defaults) && settings_apply(&next, &current, scenario))
        current = next;
    loaded = true;
    defaults_mark = now_defaults;
    scenario_mark = now_scenario;
    return &current;
}
