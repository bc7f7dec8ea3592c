/*
 * Settings from two files: the defaults (rendered from the hardware profile) and, on top of them, the scenario (what a
 * person or a test wants to see). Both are replaced by atomic rename and noticed by modification time, inode and size.
 * A line that is not understood is ignored; a key whose new value is refused keeps the value it had.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "state.h"

struct number_key {
    const char *name;
    double low, high, built_in;
};
struct text_key {
    const char *name;
    const char *built_in;
};

#define AS_NUMBER(key, name, low, high, built_in) {name, low, high, built_in},
#define AS_TEXT(key, name, built_in) {name, built_in},
static const struct number_key gpu_numbers[] = {GPU_NUMBERS(AS_NUMBER)};
static const struct text_key gpu_texts[] = {GPU_TEXTS(AS_TEXT)};
static const struct number_key driver_numbers[] = {DRIVER_NUMBERS(AS_NUMBER)};
static const struct text_key driver_texts[] = {DRIVER_TEXTS(AS_TEXT)};

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

static void built_in(struct settings *settings)
{
    for (int index = 0; index < MAX_GPUS; index++) {
        for (int key = 0; key < GPU_NUMBER_COUNT; key++)
            settings->gpu_number[index][key] = gpu_numbers[key].built_in;
        for (int key = 0; key < GPU_TEXT_COUNT; key++)
            snprintf(settings->gpu_text[index][key], TEXT_SIZE, "%s", gpu_texts[key].built_in);
    }
    for (int key = 0; key < DRIVER_NUMBER_COUNT; key++)
        settings->driver_number[key] = driver_numbers[key].built_in;
    for (int key = 0; key < DRIVER_TEXT_COUNT; key++)
        snprintf(settings->driver_text[key], TEXT_SIZE, "%s", driver_texts[key].built_in);
}

static bool parse_number(const struct number_key *key, const char *text, double *number)
{
    char *end;
    double parsed = strtod(text, &end);
    if (end == text || *end != '\0' || !(parsed >= key->low && parsed <= key->high))
        return false;
    *number = parsed;
    return true;
}

static bool usable_text(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= TEXT_SIZE)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

static void take_text(char slot[TEXT_SIZE], const char *value, const char *otherwise)
{
    const char *text = usable_text(value) ? value : otherwise;
    memcpy(slot, text, strlen(text) + 1);
}

static void set_gpu(struct settings *next, unsigned int index, const char *name, const char *value)
{
    for (int key = 0; key < GPU_NUMBER_COUNT; key++)
        if (strcmp(name, gpu_numbers[key].name) == 0) {
            if (!parse_number(&gpu_numbers[key], value, &next->gpu_number[index][key]))
                next->gpu_number[index][key] = current.gpu_number[index][key];
            return;
        }
    for (int key = 0; key < GPU_TEXT_COUNT; key++)
        if (strcmp(name, gpu_texts[key].name) == 0) {
            take_text(next->gpu_text[index][key], value, current.gpu_text[index][key]);
            return;
        }
}

static void set_driver(struct settings *next, const char *name, const char *value)
{
    for (int key = 0; key < DRIVER_NUMBER_COUNT; key++)
        if (strcmp(name, driver_numbers[key].name) == 0) {
            if (!parse_number(&driver_numbers[key], value, &next->driver_number[key]))
                next->driver_number[key] = current.driver_number[key];
            return;
        }
    for (int key = 0; key < DRIVER_TEXT_COUNT; key++)
        if (strcmp(name, driver_texts[key].name) == 0) {
            take_text(next->driver_text[key], value, current.driver_text[key]);
            return;
        }
}

static void apply_line(struct settings *next, char *line)
{
    line[strcspn(line, "\r\n")] = '\0';
    char *value = strchr(line, '=');
    if (line[0] == '#' || !value)
        return;
    *value++ = '\0';
    if (strncmp(line, "driver.", 7) == 0) {
        set_driver(next, line + 7, value);
    } else if (strncmp(line, "all.", 4) == 0) {
        for (unsigned int index = 0; index < MAX_GPUS; index++)
            set_gpu(next, index, line + 4, value);
    } else if (strncmp(line, "gpu.", 4) == 0) {
        char *end;
        unsigned long index = strtoul(line + 4, &end, 10);
        if (end != line + 4 && *end == '.' && index < MAX_GPUS)
            set_gpu(next, (unsigned int)index, end + 1, value);
    }
}

/* Returns false where the file is there but cannot be read: then what was known stays. */
static bool apply_file(struct settings *next, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || errno == ENOTDIR;
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, file) > 0)
        apply_line(next, line); /* a byte 0 ends the line that it is in */
    free(line);
    bool read = !ferror(file);
    fclose(file);
    return read;
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
        built_in(&current);
    static struct settings next;
    built_in(&next);
    if (apply_file(&next, defaults) && apply_file(&next, scenario))
        current = next;
    loaded = true;
    defaults_mark = now_defaults;
    scenario_mark = now_scenario;
    return &current;
}
