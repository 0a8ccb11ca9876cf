// SPDX-License-Identifier: Apache-2.0
// The list of entries, and files that the user named: regular files only, opened relative to their
// directory without following links, so that nothing outside of what was named gets in.
#include "collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "redact.h"

#define DEPTH_MAX 16u

void collect_init(struct collect *collect, int out)
{
    memset(collect, 0, sizeof(*collect));
    tar_init(&collect->tar, out, (int64_t)time(NULL));
}

void collect_note(struct collect *collect, const char *name, uint64_t bytes, const char *note)
{
    collect->entries = cli_grow(collect->entries, collect->count + 1, sizeof(*collect->entries));
    collect->entries[collect->count++] =
        (struct entry){.name = cli_text("%s", name), .bytes = bytes, .note = cli_text("%s", note)};
}

void collect_text(struct collect *collect, const char *name, const char *text, const char *note)
{
    char *full = cli_text(COLLECT_FOLDER "/%s", name);

    tar_memory(&collect->tar, full, text, strlen(text));
    collect_note(collect, name, strlen(text), note);
    free(full);
}

/* An open regular file. */
static void take_file(struct collect *collect, int fd, const struct stat *about, const char *name)
{
    uint64_t size = (uint64_t)about->st_size, take = size, got = 0;
    char *full = cli_text(COLLECT_FOLDER "/%s", name);
    char *note = NULL;

    if (size > COLLECT_FILE_MAX) {
        take = COLLECT_FILE_MAX;
        lseek(fd, (off_t)(size - take), SEEK_SET);
    }
    got = tar_copy(&collect->tar, full, fd, take, about->st_mtime);
    if (got < take) {
        note = cli_text("became shorter while it was read: zeros after %" PRIu64 " bytes", got);
    } else if (take < size) {
        note = cli_text("the last %" PRIu64 " of %" PRIu64 " bytes", take, size);
    } else {
        note = cli_text("%s", "");
    }
    collect_note(collect, name, take, note);
    free(note);
    free(full);
}

static void take_directory(struct collect *collect, int fd, const char *name, const char *prefix,
                           unsigned depth);

/* A member of a directory, or what the user named. */
static void take_one(struct collect *collect, int dir, const char *path, const char *name,
                     const char *prefix, unsigned depth)
{
    const char *last = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
    int follow = depth == 0 ? 0 : O_NOFOLLOW;
    struct stat about;
    int fd = -1;

    if (redact_file(last)) {
        collect_note(collect, name, 0, "left out: it may be a key");
        return;
    }
    if (collect->files >= COLLECT_FILES_MAX) {
        return;
    }
    fd = openat(dir, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | follow);
    if (fd < 0) {
        collect_note(collect, name, 0,
                     errno == ELOOP ? "left out: a link, which is not followed" : strerror(errno));
        return;
    }
    if (fstat(fd, &about)) {
        collect_note(collect, name, 0, strerror(errno));
    } else if (S_ISDIR(about.st_mode)) {
        take_directory(collect, fd, name, prefix, depth + 1);
        return; /* closed there */
    } else if (!S_ISREG(about.st_mode)) {
        collect_note(collect, name, 0, "left out: no regular file");
    } else if (strncmp(last, prefix, strlen(prefix)) == 0) {
        if (++collect->files == COLLECT_FILES_MAX) {
            collect_note(collect, name, 0, "left out, with all that follows: too many files");
        } else {
            take_file(collect, fd, &about, name);
        }
    }
    close(fd);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void take_directory(struct collect *collect, int fd, const char *name, const char *prefix,
                           unsigned depth)
{
    DIR *dir = NULL;
    struct dirent *member = NULL;
    char **names = NULL;
    size_t count = 0;

    if (depth > DEPTH_MAX) {
        collect_note(collect, name, 0, "left out: directories are nested too deep");
        close(fd);
        return;
    }
    dir = fdopendir(fd);
    while (dir && (member = readdir(dir))) {
        if (strcmp(member->d_name, ".") != 0 && strcmp(member->d_name, "..") != 0) {
            names = cli_grow(names, count + 1, sizeof(*names));
            names[count++] = cli_text("%s", member->d_name);
        }
    }
    if (count) {
        qsort(names, count, sizeof(*names), compare_names);
    }
    for (size_t i = 0; i < count; i++) {
        char *inner = cli_text("%s/%s", name, names[i]);

        take_one(collect, dirfd(dir), names[i], inner, prefix, depth);
        free(inner);
        free(names[i]);
    }
    free(names);
    if (dir) {
        closedir(dir);
    } else {
        close(fd);
    }
}

void collect_path(struct collect *collect, const char *path, const char *prefix)
{
    /* "../x" and "/x" would leave the folder of whoever unpacks. */
    char *name = NULL, *inner = NULL;
    size_t used = 0;

    for (const char *at = path; *at;) {
        size_t length = strcspn(at, "/");

        if (length && !(length == 1 && at[0] == '.') && !(length == 2 && !strncmp(at, "..", 2))) {
            name = cli_grow(name, used + length + 2, 1);
            name[used] = '/';
            memcpy(name + used + 1, at, length);
            used += length + 1;
            name[used] = '\0';
        }
        at += length;
        at += *at ? 1 : 0;
    }
    inner = cli_text("files%s", name ? name : "");
    take_one(collect, AT_FDCWD, path, inner, prefix, 0);
    free(inner);
    free(name);
}

int collect_end(struct collect *collect)
{
    char *list = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&list, &bytes);

    for (uint32_t i = 0; file && i < collect->count; i++) {
        const struct entry *entry = &collect->entries[i];

        fprintf(file, "%12" PRIu64 "  %s%s%s\n", entry->bytes, entry->name,
                entry->note[0] ? "  -- " : "", entry->note);
    }
    if (file && fclose(file) == 0) {
        collect_text(collect, "MANIFEST.txt", list, "");
    }
    free(list);
    return tar_end(&collect->tar);
}

void collect_fini(struct collect *collect)
{
    for (uint32_t i = 0; i < collect->count; i++) {
        free(collect->entries[i].name);
        free(collect->entries[i].note);
    }
    free(collect->entries);
    collect->entries = NULL;
}
