// SPDX-License-Identifier: Apache-2.0
// Faults as text and from a seed, and the other parameters of a schedule. Each parameter has a
// stream of random numbers of its own, so that giving one of them leaves the others as they were.
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutants.h"
#include "schedule.h"

#define MS              1000000ull
#define COUNT_DEFAULT   ((struct range){3, 12})
#define DURATION_MS_MAX 3600000ull

/* ---- random numbers (splitmix64) ---- */

struct stream {
    uint64_t x;
};

static uint64_t draw(struct stream *stream)
{
    uint64_t x = stream->x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static struct stream stream_of(uint64_t seed, uint64_t which)
{
    struct stream stream = {seed ^ which * 0xd1342543de82ef95ull};
    stream.x = draw(&stream);
    return stream;
}

static uint64_t draw_within(struct stream *stream, uint64_t low, uint64_t high)
{
    return low + draw(stream) % (high - low + 1);
}

/* ---- text to numbers ---- */

static bool say(char *why, size_t len, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static bool say(char *why, size_t len, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, len, fmt, args);
    va_end(args);
    return false;
}

/* A decimal number at *at, which moves behind it. */
static bool number(const char **at, uint64_t *out)
{
    char *end;
    if (**at < '0' || **at > '9') {
        return false;
    }
    errno = 0;
    *out = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

bool wishes_range(const char *what, const char *text, struct range limits, struct range *out,
                  char *why, size_t len)
{
    const char *at = text;
    struct range got;
    bool good = number(&at, &got.low);
    got.high = got.low;
    if (good && strncmp(at, "..", 2) == 0) {
        at += 2;
        good = number(&at, &got.high);
    }
    if (!good || *at != '\0' || got.low > got.high || got.low < limits.low ||
        got.high > limits.high) {
        return say(why, len,
                   "%s %s: a number from %" PRIu64 " to %" PRIu64 ", or a range of them such as "
                   "%" PRIu64 "..%" PRIu64,
                   what, text, limits.low, limits.high, limits.low, limits.high);
    }
    *out = got;
    return true;
}

void wishes_init(struct wishes *wishes)
{
    *wishes = (struct wishes){.count = COUNT_DEFAULT};
}

/* Index of the name of `len` bytes; -1: there is none. */
static int index_of(const char *const *names, int count, const char *name, size_t len)
{
    for (int i = 0; i < count; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) {
            return i;
        }
    }
    return -1;
}

static void list_names(const char *const *names, int count, char *out, size_t len)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < count && used < len; i++) {
        used += (size_t)snprintf(out + used, len - used, "%s%s", i ? ", " : "", names[i]);
    }
}

static bool unknown_kind(const char *text, size_t name_len, char *why, size_t len)
{
    char all[256];
    list_names(world_fault_names, FAULT_KINDS, all, sizeof(all));
    return say(why, len, "--faults: there is no fault \"%.*s\"; the kinds are %s", (int)name_len,
               text, all);
}

/* ---- "kill:3,cut:2" ---- */

static bool parse_kinds(struct wishes *wishes, const char *text, char *why, size_t len)
{
    uint64_t all = 0;
    memset(wishes->kinds, 0, sizeof(wishes->kinds));
    for (const char *at = text;; at++) {
        uint64_t count = 1;
        size_t name = strcspn(at, ":,");
        int kind = index_of(world_fault_names, FAULT_KINDS, at, name);
        if (kind < 0) {
            return unknown_kind(at, name, why, len);
        }
        at += name;
        if (*at == ':') {
            at++;
            if (!number(&at, &count) || count > SCHEDULE_FAULTS_MAX) {
                return say(why, len, "--faults %s: behind \":\" there is no number up to %u", text,
                           SCHEDULE_FAULTS_MAX);
            }
        }
        wishes->kinds[kind] += (uint32_t)count;
        all += count;
        if (*at != ',') {
            if (*at != '\0' || all > SCHEDULE_FAULTS_MAX) {
                return say(why, len,
                           "--faults %s: kinds with numbers, %u faults in all at most, such as "
                           "kill:3,cut:2",
                           text, SCHEDULE_FAULTS_MAX);
            }
            wishes->kind = WISH_KINDS;
            return true;
        }
    }
}

/* ---- "kill@1200:r3/joining/500ms" ---- */

static bool parse_rank(const char **at, uint32_t *out)
{
    uint64_t rank;
    if (**at != 'r') {
        return false;
    }
    ++*at;
    if (!number(at, &rank) || rank >= WORLD_RANKS_MAX) {
        return false;
    }
    *out = (uint32_t)rank;
    return true;
}

static bool parse_state(const char **at, enum world_state *out)
{
    size_t name = strcspn(*at, "/");
    int state = index_of(world_state_names, WORLD_STATES, *at, name);
    if (state < 0 && (name != 3 || memcmp(*at, "any", 3) != 0)) {
        return false;
    }
    *out = state < 0 ? WORLD_STATES : (enum world_state)state;
    *at += name;
    return true;
}

static bool parse_duration(const char **at, uint64_t *out)
{
    uint64_t value;
    if (!number(at, &value) || value > DURATION_MS_MAX) {
        return false;
    }
    bool ms = strncmp(*at, "ms", 2) == 0;
    if (!ms && (**at != 's' || value > DURATION_MS_MAX / 1000)) {
        return false;
    }
    *at += ms ? 2 : 1;
    *out = value * (ms ? MS : 1000 * MS);
    return true;
}

static bool take(const char **at, char wanted)
{
    bool there = **at == wanted;
    *at += there;
    return there;
}

/* One fault at *at, which moves behind it. */
static bool parse_fault(const char **at, struct world_fault *out)
{
    size_t name = strcspn(*at, "@");
    int kind = index_of(world_fault_names, FAULT_KINDS, *at, name);
    if (kind < 0) {
        return false;
    }
    *out = (struct world_fault){.kind = (enum world_fault_kind)kind};
    *at += name;
    if (!take(at, '@') || !number(at, &out->step) || !take(at, ':') ||
        !parse_rank(at, &out->rank)) {
        return false;
    }
    out->other = out->rank;
    if (take(at, '-') && !parse_rank(at, &out->other)) {
        return false;
    }
    return take(at, '/') && parse_state(at, &out->state) && take(at, '/') &&
           parse_duration(at, &out->duration_ns);
}

static bool parse_exact(struct wishes *wishes, const char *text, char *why, size_t len)
{
    const char *at = text;
    wishes->exact_count = 0;
    do {
        const char *begin = at;
        struct world_fault fault;
        if (wishes->exact_count == SCHEDULE_FAULTS_MAX) {
            return say(why, len, "--faults: more than %u faults", SCHEDULE_FAULTS_MAX);
        }
        if (!parse_fault(&at, &fault) || (*at != '\0' && *at != ',' && *at != ';')) {
            char states[256];
            list_names(world_state_names, WORLD_STATES, states, sizeof(states));
            return say(why, len,
                       "--faults: \"%.*s\" is no fault: KIND@STEP:rRANK[-rOTHER]/STATE/TIME, such "
                       "as kill@1200:r3/joining/500ms; states are any, %s; times are ms or s, an "
                       "hour at most",
                       (int)strcspn(begin, ",;"), begin, states);
        }
        wishes->exact[wishes->exact_count++] = fault;
    } while (*at++ != '\0');
    wishes->kind = WISH_EXACT;
    return true;
}

bool wishes_faults(struct wishes *wishes, const char *text, char *why, size_t len)
{
    if (text[0] >= '0' && text[0] <= '9') {
        wishes->kind = WISH_COUNT;
        return wishes_range("--faults", text, (struct range){0, SCHEDULE_FAULTS_MAX},
                            &wishes->count, why, len);
    }
    return strchr(text, '@') ? parse_exact(wishes, text, why, len)
                             : parse_kinds(wishes, text, why, len);
}

/* ---- from the seed ---- */

/* Worlds of a size at which much happens, small ones, and some that are large. */
static uint32_t draw_ranks(struct stream *stream, struct range wish)
{
    static const struct {
        uint32_t percent;
        struct range within;
    } bands[] = {{70, {8, 12}}, {13, {2, 7}}, {13, {13, 24}}, {4, {32, 128}}};
    if (wish.high == 0) {
        wish = (struct range){2, 128};
    }
    uint64_t dice = draw(stream) % 100;
    size_t i = 0;
    while (dice >= bands[i].percent) {
        dice -= bands[i++].percent;
    }
    uint64_t low = bands[i].within.low > wish.low ? bands[i].within.low : wish.low;
    uint64_t high = bands[i].within.high < wish.high ? bands[i].within.high : wish.high;
    return (uint32_t)(low <= high ? draw_within(stream, low, high)
                                  : draw_within(stream, wish.low, wish.high));
}

static uint64_t draw_steps(struct stream *stream, struct range wish, uint32_t ranks)
{
    if (wish.high == 0) {
        uint64_t times = ranks > 16 ? ranks / 16 : 1;
        wish = (struct range){2000 * times, 6000 * times};
    }
    return draw_within(stream, wish.low, wish.high);
}

/* From a millisecond to half a minute, every order of magnitude alike: shorter and longer than a
 * session. */
static uint64_t draw_duration(struct stream *stream)
{
    static const uint32_t ms[] = {1, 4, 15, 60, 250, 1000, 3000, 5000, 10000, 30000};
    uint64_t i = draw(stream) % (sizeof(ms) / sizeof(ms[0]) - 1);
    return draw_within(stream, ms[i], ms[i + 1]) * MS;
}

/* The last three are rare: they are wanted three times as often. */
static enum world_state draw_state(struct stream *stream)
{
    uint32_t state = (uint32_t)(draw(stream) % (WORLD_STATES + 6));
    return (enum world_state)(state < WORLD_STATES ? state
                                                   : WORLD_EXTENDING + (state - WORLD_STATES) % 3);
}

static struct world_fault draw_fault(struct stream *stream, enum world_fault_kind kind,
                                     const struct schedule *schedule)
{
    struct world_fault fault = {.kind = kind, .state = WORLD_STATES};
    fault.step = draw_within(stream, 1, schedule->steps * 3 / 4 + 1);
    fault.rank = (uint32_t)(draw(stream) % schedule->ranks);
    fault.other =
        (uint32_t)((fault.rank + 1 + draw(stream) % (schedule->ranks - 1)) % schedule->ranks);
    if (draw(stream) % 8 != 0) {
        fault.state = draw_state(stream);
    }
    fault.duration_ns = draw_duration(stream);
    return fault;
}

static void draw_faults(const struct wishes *wishes, struct schedule *out)
{
    struct stream stream = stream_of(out->seed, 3);
    if (wishes->kind == WISH_COUNT) {
        out->fault_count = (uint32_t)draw_within(&stream, wishes->count.low, wishes->count.high);
        for (uint32_t i = 0; i < out->fault_count; i++) {
            enum world_fault_kind kind = (enum world_fault_kind)(draw(&stream) % FAULT_KINDS);
            out->faults[i] = draw_fault(&stream, kind, out);
        }
        return;
    }
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        for (uint32_t i = 0; i < wishes->kinds[kind]; i++) {
            out->faults[out->fault_count++] = draw_fault(&stream, (enum world_fault_kind)kind, out);
        }
    }
}

static int by_step(const void *a, const void *b)
{
    const struct world_fault *x = a, *y = b;
    if (x->step != y->step) {
        return x->step < y->step ? -1 : 1;
    }
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

bool schedule_draw(const struct wishes *wishes, uint64_t seed, struct schedule *out, char *why,
                   size_t len)
{
    struct stream ranks = stream_of(seed, 1), steps = stream_of(seed, 2);
    out->seed = seed;
    out->fault_count = 0;
    out->ranks_per_host = wishes->ranks_per_host;
    out->ranks = draw_ranks(&ranks, wishes->ranks);
    out->steps = draw_steps(&steps, wishes->steps, out->ranks);
    if (wishes->kind == WISH_EXACT) {
        for (uint32_t i = 0; i < wishes->exact_count; i++) {
            const struct world_fault *fault = &wishes->exact[i];
            uint32_t most = fault->rank > fault->other ? fault->rank : fault->other;
            if (most >= out->ranks) {
                return say(why, len, "--faults: a fault names rank %u of a world of %u ranks", most,
                           out->ranks);
            }
            out->faults[out->fault_count++] = *fault;
        }
    } else {
        draw_faults(wishes, out);
    }
    qsort(out->faults, out->fault_count, sizeof(out->faults[0]), by_step);
    return true;
}

/* ---- as text ---- */

static bool has_other(enum world_fault_kind kind)
{
    return kind == FAULT_CUT || kind == FAULT_CUT_ONE_WAY || kind == FAULT_RESET ||
           kind == FAULT_LINK_SLOW;
}

static size_t print_fault(const struct world_fault *fault, char *out, size_t len)
{
    uint64_t ms = fault->duration_ns / MS;
    char other[16] = "";
    if (has_other(fault->kind)) {
        snprintf(other, sizeof(other), "-r%u", fault->other);
    }
    return (size_t)snprintf(out, len, "%s@%" PRIu64 ":r%u%s/%s/%" PRIu64 "%s",
                            world_fault_names[fault->kind], fault->step, fault->rank, other,
                            fault->state == WORLD_STATES ? "any" : world_state_names[fault->state],
                            ms % 1000 || ms == 0 ? ms : ms / 1000,
                            ms % 1000 || ms == 0 ? "ms" : "s");
}

void schedule_print_faults(const struct schedule *schedule, char *out, size_t len)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < schedule->fault_count && used + 1 < len; i++) {
        if (i) {
            out[used++] = ',';
        }
        used += print_fault(&schedule->faults[i], out + used, len - used);
    }
    if (schedule->fault_count == 0) {
        snprintf(out, len, "0");
    }
}

void schedule_print_command(const struct schedule *schedule, char *out, size_t len)
{
    char hosts[40] = "";
    if (schedule->ranks_per_host) {
        snprintf(hosts, sizeof(hosts), " --ranks-per-host %u", schedule->ranks_per_host);
    }
    int used =
        snprintf(out, len, "%s --seed %" PRIu64 " --ranks %u%s --steps %" PRIu64 " --faults ",
                 mutants_program(), schedule->seed, schedule->ranks, hosts, schedule->steps);
    schedule_print_faults(schedule, out + used, len - (size_t)used);
}
