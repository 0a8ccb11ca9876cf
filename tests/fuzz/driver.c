// SPDX-License-Identifier: Apache-2.0
// The driver of a fuzz target where there is no libFuzzer: runs files, or mutates the target's own
// seeds and the files of a corpus. A run is repeated by its seed. The input lies against an
// inaccessible page, so that one byte too many is a crash in every build.
//
//   fuzz_X [--runs N] [--seed S] [FILE or FOLDER ...]      --runs 0: the inputs as they are
//   fuzz_X --expect-crash [...]                            good when something is found
//   fuzz_X --write FOLDER                                  the seeds as files
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define CORPUS_MAX 4096u

struct input {
    uint8_t *data;
    size_t len;
    char *name; /* of its file; NULL: a seed */
};

static struct {
    struct input corpus[CORPUS_MAX];
    uint32_t count;
    uint64_t random;
    uint8_t *end; /* of the place for inputs: the first inaccessible byte */
    uint64_t run, seed;
    const char *name; /* what is run: a file, or NULL: a mutation or a seed */
    bool expect_crash;
} all;

static uint64_t draw(uint64_t below)
{
    uint64_t x = all.random += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return (x ^ x >> 31) % below;
}

static void add(const uint8_t *data, size_t len, const char *name)
{
    if (all.count == CORPUS_MAX || len > FUZZ_INPUT_MAX) {
        return;
    }
    struct input *input = &all.corpus[all.count++];
    input->data = malloc(len ? len : 1);
    input->len = len;
    input->name = name ? strdup(name) : NULL;
    if (!input->data || (name && !input->name)) {
        abort();
    }
    memcpy(input->data, data, len);
}

static void add_seeds(void)
{
    static uint8_t buf[FUZZ_INPUT_MAX];
    size_t len;
    for (uint32_t i = 0; (len = fuzz_seed(i, buf, sizeof(buf))) > 0; i++) {
        add(buf, len, NULL);
    }
}

static int add_file(const char *path)
{
    static uint8_t buf[FUZZ_INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "fuzz: %s: %s\n", path, strerror(errno));
        return -1;
    }
    add(buf, fread(buf, 1, sizeof(buf), file), path);
    fclose(file);
    return 0;
}

/* In order of their names, so that a run is the same on every machine. */
static int add_path(const char *path)
{
    struct stat st;
    struct dirent **entries = NULL;
    char name[4096];
    int rc = 0;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return add_file(path);
    }
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (rc == 0 && entries[i]->d_name[0] != '.') {
            snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
            rc = add_file(name);
        }
        free(entries[i]);
    }
    free(entries);
    return count < 0 ? -1 : rc;
}

static void run(const uint8_t *data, size_t len)
{
    uint8_t *at = all.end - len;
    if (len > 0) {
        memcpy(at, data, len);
    }
    fuzz_one(at, len);
}

/* Numbers that stand at the edges of what a length or a count may be. */
static void put_edge(uint8_t *at, size_t room)
{
    static const uint64_t edges[] = {
        0,     1,     2,       7,         8,           255,        256,        1023,      1024,
        65535, 65536, 4194304, INT32_MAX, 0x80000000u, UINT32_MAX, 1ull << 46, UINT64_MAX};
    uint64_t value = edges[draw(sizeof(edges) / sizeof(edges[0]))] + draw(3) - 1;
    size_t width = (size_t)1 << draw(4);
    memcpy(at, &value, width < room ? width : room);
}

static size_t mutate(uint8_t *buf, size_t len)
{
    const struct input *other = &all.corpus[draw(all.count)];
    size_t at = len ? draw(len) : 0, n = 0;
    switch (draw(8)) {
    case 0:
        if (len) {
            buf[at] ^= (uint8_t)(1u << draw(8));
        }
        return len;
    case 1:
        if (len) {
            buf[at] = (uint8_t)draw(256);
        }
        return len;
    case 2:
    case 3:
        if (len) {
            put_edge(buf + at, len - at);
        }
        return len;
    case 4: /* cut */
        return at;
    case 5: /* take out */
        n = len ? draw(len - at) : 0;
        memmove(buf + at, buf + at + n, len - at - n);
        return len - n;
    case 6: /* put in */
        n = draw(17);
        if (len + n > FUZZ_INPUT_MAX) {
            return len;
        }
        memmove(buf + at + n, buf + at, len - at);
        for (size_t i = 0; i < n; i++) {
            buf[at + i] = (uint8_t)draw(256);
        }
        return len + n;
    default: /* the rest of another */
        if (other->len == 0) {
            return len;
        }
        n = draw(other->len);
        if (at + other->len - n > FUZZ_INPUT_MAX) {
            return len;
        }
        memcpy(buf + at, other->data + n, other->len - n);
        return at + other->len - n;
    }
}

static void mutate_and_run(uint64_t runs)
{
    static uint8_t buf[FUZZ_INPUT_MAX];
    for (all.run = 0; all.run < runs; all.run++) {
        all.random = all.seed ^ all.run << 20;
        const struct input *from = &all.corpus[draw(all.count)];
        size_t len = from->len;
        memcpy(buf, from->data, len);
        for (uint64_t i = 0, n = 1 + draw(6); i < n; i++) {
            len = mutate(buf, len);
        }
        run(buf, len);
    }
}

static void on_crash(int number)
{
    char text[512];
    int n = all.name ? snprintf(text, sizeof(text), "fuzz: signal %d in %.400s\n", number, all.name)
                     : snprintf(text, sizeof(text),
                                "fuzz: signal %d in run %" PRIu64 " of seed %" PRIu64 "\n", number,
                                all.run, all.seed);
    (void)!write(2, text, (size_t)n);
    _exit(all.expect_crash ? 0 : 1);
}

/* A sanitizer has something to say: it ends the process by itself. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static void on_death(void)
{
    _exit(0);
}

static int write_seeds(const char *folder)
{
    char name[4096];
    add_seeds();
    for (uint32_t i = 0; i < all.count; i++) {
        snprintf(name, sizeof(name), "%s/seed-%03u", folder, i);
        FILE *file = fopen(name, "wb");
        if (!file || fwrite(all.corpus[i].data, 1, all.corpus[i].len, file) != all.corpus[i].len ||
            fclose(file) != 0) {
            fprintf(stderr, "fuzz: %s: %s\n", name, strerror(errno));
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t runs = 10000;
    bool files = false;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *place = mmap(NULL, FUZZ_INPUT_MAX + page, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED || mprotect(place + FUZZ_INPUT_MAX, page, PROT_NONE) != 0) {
        perror("fuzz: mmap");
        return 2;
    }
    all.end = place + FUZZ_INPUT_MAX;
    all.seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--write") == 0 && i + 1 < argc) {
            return write_seeds(argv[i + 1]);
        }
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            all.seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--expect-crash") == 0) {
            all.expect_crash = true;
        } else if (add_path(argv[i]) == 0) {
            files = true;
        } else {
            return 2;
        }
    }
    (void)signal(SIGSEGV, on_crash);
    (void)signal(SIGBUS, on_crash);
    (void)signal(SIGABRT, on_crash);
    if (all.expect_crash && __sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(on_death);
    }
    if (!files || runs > 0) {
        add_seeds();
    }
    for (uint32_t i = 0; i < all.count; i++) {
        all.name = all.corpus[i].name;
        run(all.corpus[i].data, all.corpus[i].len);
    }
    all.name = NULL;
    mutate_and_run(runs);
    printf("%u inputs, %" PRIu64 " mutations of seed %" PRIu64 "\n", all.count, runs, all.seed);
    return all.expect_crash ? 1 : 0;
}
