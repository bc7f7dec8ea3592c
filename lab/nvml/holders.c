/*
 * Who holds a GPU's device file open: the one thing from which a GPU's processes and load follow.
 * Looked up in /proc by the path that each descriptor links to, at most every 200 ms, so that a sweep over all GPUs scans
 * once. The descriptors of another user's process can be read by root alone; other callers see their own processes.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

static struct holders found;
static struct timespec scanned;
static bool scanned_once;

static void add_holder(unsigned int index, unsigned int pid)
{
    unsigned int count = found.count[index];
    for (unsigned int i = 0; i < count; i++)
        if (found.pid[index][i] == pid)
            return;
    if (count < MAX_HOLDERS) {
        found.pid[index][count] = pid;
        found.count[index] = count + 1;
    }
}

/* The number after the device prefix in a link's target; -1 for any other file. */
static int device_number(const char *target, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(target, prefix, length) != 0 || !isdigit((unsigned char)target[length]))
        return -1;
    char *end;
    unsigned long number = strtoul(target + length, &end, 10);
    return *end == '\0' && number < 256 ? (int)number : -1;
}

/* Returns false where the kernel forbade reading a link. */
static bool scan_descriptors(int folder, unsigned int pid, const char *prefix, const unsigned int *index_of_minor)
{
    int copy = openat(folder, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return errno != EACCES && errno != EPERM;
    DIR *descriptors = fdopendir(copy);
    if (!descriptors) {
        close(copy);
        return true;
    }
    bool allowed = true;
    struct dirent *entry;
    while ((entry = readdir(descriptors))) {
        char target[PATH_MAX];
        ssize_t length = readlinkat(copy, entry->d_name, target, sizeof target - 1);
        if (length < 0 && (errno == EACCES || errno == EPERM)) {
            allowed = false;
            break;
        }
        if (length <= 0)
            continue;
        target[length] = '\0';
        int minor = device_number(target, prefix);
        if (minor >= 0 && index_of_minor[minor] < MAX_GPUS)
            add_holder(index_of_minor[minor], pid);
    }
    closedir(descriptors);
    return allowed;
}

static void scan_process(int proc, const char *name, const char *prefix, const unsigned int *index_of_minor)
{
    int folder = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return;
    unsigned int pid = (unsigned int)strtoul(name, NULL, 10);
    struct stat owner;
    if (!scan_descriptors(folder, pid, prefix, index_of_minor) && geteuid() == 0 && fstat(folder, &owner) == 0) {
        /* Root without CAP_SYS_PTRACE, as in most containers: the owner's own identity may look, for this thread only. */
        gid_t group = (gid_t)setfsgid(owner.st_gid);
        uid_t user = (uid_t)setfsuid(owner.st_uid);
        scan_descriptors(folder, pid, prefix, index_of_minor);
        setfsuid(user);
        setfsgid(group);
    }
    close(folder);
}

static void scan(void)
{
    const char *prefix = environment_or("FLEETWARD_NVML_DEVICES", "/dev/nvidia");
    const struct settings *settings = settings_current();
    unsigned int index_of_minor[256];
    for (int minor = 0; minor < 256; minor++)
        index_of_minor[minor] = MAX_GPUS;
    for (unsigned int index = 0; index < MAX_GPUS; index++) {
        double minor = settings->gpu_number[index][MINOR_NUMBER];
        index_of_minor[__builtin_isnan(minor) ? index : (unsigned int)minor] = index;
    }
    memset(&found, 0, sizeof found);
    DIR *processes = opendir(environment_or("FLEETWARD_NVML_PROC", "/proc"));
    if (!processes)
        return;
    struct dirent *entry;
    while ((entry = readdir(processes)))
        if (isdigit((unsigned char)entry->d_name[0]))
            scan_process(dirfd(processes), entry->d_name, prefix, index_of_minor);
    closedir(processes);
}

const struct holders *holders_current(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double age = (double)(now.tv_sec - scanned.tv_sec) + (double)(now.tv_nsec - scanned.tv_nsec) / 1e9;
    if (!scanned_once || age >= 0.2) {
        scan();
        scanned_once = true;
        clock_gettime(CLOCK_MONOTONIC, &scanned);
    }
    return &found;
}
