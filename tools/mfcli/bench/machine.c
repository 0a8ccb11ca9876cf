// SPDX-License-Identifier: Apache-2.0
// Reads what /proc and the control group tell.
#include "machine.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE_BYTES 256u

double machine_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void machine_sleep_ns(uint64_t ns)
{
    struct timespec left = {.tv_sec = (time_t)(ns / 1000000000u),
                            .tv_nsec = (long)(ns % 1000000000u)};

    while (nanosleep(&left, &left) && errno == EINTR) {
    }
}

/* The text behind "name" and a colon in the first such line of a file. */
static bool find_line(const char *path, const char *name, char *value, size_t len)
{
    FILE *file = fopen(path, "re");
    char line[LINE_BYTES];
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file)) {
        size_t length = strlen(name);
        const char *colon = strchr(line, ':');

        if (colon && strncmp(line, name, length) == 0) {
            colon += 1 + strspn(colon + 1, " \t");
            snprintf(value, len, "%.*s", (int)strcspn(colon, "\n"), colon);
            found = true;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

void machine_cpu(char *name, size_t len)
{
    if (!find_line("/proc/cpuinfo", "model name", name, len) &&
        !find_line("/proc/cpuinfo", "CPU part", name, len)) {
        snprintf(name, len, "unknown");
    }
}

uint32_t machine_cores(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

void machine_date(char *text, size_t len)
{
    time_t now = time(NULL);
    struct tm parts;

    gmtime_r(&now, &parts);
    if (strftime(text, len, "%Y-%m-%d", &parts) == 0) {
        text[0] = '\0';
    }
}

static uint64_t kilobytes(const char *path, const char *name)
{
    char value[LINE_BYTES];

    return find_line(path, name, value, sizeof(value)) ? strtoull(value, NULL, 10) * 1024 : 0;
}

/* A file that holds one number; UINT64_MAX when there is none ("max"). */
static uint64_t number_in(const char *path)
{
    FILE *file = fopen(path, "re");
    uint64_t value = UINT64_MAX;

    if (file) {
        if (fscanf(file, "%" SCNu64, &value) != 1) {
            value = UINT64_MAX;
        }
        fclose(file);
    }
    return value;
}

uint64_t machine_memory(void)
{
    uint64_t available = kilobytes("/proc/meminfo", "MemAvailable");
    uint64_t limit = number_in("/sys/fs/cgroup/memory.max");
    uint64_t used = number_in("/sys/fs/cgroup/memory.current");

    if (limit != UINT64_MAX && used != UINT64_MAX) {
        uint64_t left = limit > used ? limit - used : 0;

        available = left < available ? left : available;
    }
    return available;
}

uint64_t machine_status_bytes(pid_t pid, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return kilobytes(path, name);
}

uint64_t machine_switches(pid_t pid)
{
    char path[320];
    struct dirent *entry = NULL;
    uint64_t sum = 0;
    DIR *tasks = NULL;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    while (tasks && (entry = readdir(tasks))) {
        char value[LINE_BYTES];

        snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, entry->d_name);
        if (entry->d_name[0] != '.' &&
            find_line(path, "voluntary_ctxt_switches", value, sizeof(value))) {
            sum += strtoull(value, NULL, 10);
        }
    }
    if (tasks) {
        closedir(tasks);
    }
    return sum;
}
