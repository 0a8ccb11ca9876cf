// SPDX-License-Identifier: Apache-2.0
// What instances of the model transport hold of the machine's: control pages, memory behind
// segments, watches on processes. None of it is memory of a process, so that it can be used after
// its process has been killed; whatever a killed process held is given back for it.
#include <stdlib.h>
#include <sys/mman.h>

#include "transport.h"

#define BUCKETS       4096u
#define NOTICE_MAX_NS (20ull * 1000000ull) /* until the end of a process is seen */

struct sim_watch {
    struct sim_event event; /* of the watching process */
    struct sim_source source;
    struct sim_hook hook; /* on the watched one */
    bool hooked;
    struct mf_loop *loop;
    struct sim_proc *proc;
    struct sim_watch *prev, *next;
};

/* A segment of a page. */
struct sim_published {
    uint64_t epoch;
    struct sim_object *object; /* a reference */
    struct sim_published *next;
};

/* One reference to a page or to an object. */
struct holding {
    struct sim_page *page;
    struct sim_object *object;
    struct holding *next;
};

struct sim_held {
    struct sim_page *own;
    struct sim_proc *proc;
    struct sim_hook hook;
    struct holding *first;
    struct sim_watch *watches;
};

/* All pages, by incarnation: who asks knows whose he wants. */
static struct sim_page *pages[BUCKETS];

static struct sim_page **bucket_of(uint64_t incarnation)
{
    return &pages[(incarnation ^ incarnation >> 32) % BUCKETS];
}

static void page_put(struct sim_page *page)
{
    if (--page->refs > 0) {
        return;
    }
    struct sim_page **at = bucket_of(page->page->incarnation);
    while (*at != page) {
        at = &(*at)->next;
    }
    *at = page->next;
    munmap(page->page, sizeof(*page->page));
    free(page);
}

static void give_back(struct holding *holding)
{
    if (holding->page) {
        page_put(holding->page);
    }
    sim_object_put(holding->object);
    free(holding);
}

static void unhook(struct sim_watch *watch)
{
    if (watch->hooked) {
        sim_proc_unhook(watch->proc, &watch->hook);
        watch->hooked = false;
    }
}

static void free_watch(struct sim_held *held, struct sim_watch *watch)
{
    unhook(watch);
    sim_event_cancel(&watch->event);
    sim_loop_forget(watch->loop, &watch->source);
    if (watch->prev) {
        watch->prev->next = watch->next;
    } else {
        held->watches = watch->next;
    }
    if (watch->next) {
        watch->next->prev = watch->prev;
    }
    free(watch);
}

static void release(struct sim_held *held)
{
    while (held->own && held->own->published) {
        sim_page_withdraw(held->own, held->own->published->epoch);
    }
    while (held->watches) {
        free_watch(held, held->watches);
    }
    while (held->first) {
        struct holding *holding = held->first;
        held->first = holding->next;
        give_back(holding);
    }
    free(held);
}

/* The process has ended without a close. */
static void on_own_end(void *arg)
{
    release(arg);
}

struct sim_held *sim_held_open(void)
{
    struct sim_held *held = calloc(1, sizeof(*held));
    if (held) {
        held->proc = sim_proc_self();
        held->hook = (struct sim_hook){.fn = on_own_end, .arg = held};
        sim_proc_hook(held->proc, &held->hook);
    }
    return held;
}

void sim_held_close(struct sim_held *held)
{
    if (held) {
        sim_proc_unhook(held->proc, &held->hook);
        release(held);
    }
}

static struct holding *hold(struct sim_held *held)
{
    struct holding *holding = calloc(1, sizeof(*holding));
    if (holding) {
        holding->next = held->first;
        held->first = holding;
    }
    return holding;
}

static void drop(struct sim_held *held, const struct sim_page *page,
                 const struct sim_object *object)
{
    struct holding **at = &held->first;
    while (*at && ((*at)->page != page || (*at)->object != object)) {
        at = &(*at)->next;
    }
    MF_ASSERT(*at != NULL);
    struct holding *holding = *at;
    *at = holding->next;
    give_back(holding);
}

struct sim_page *sim_held_own_page(struct sim_held *held, const struct mf_fence_identity *who)
{
    struct holding *holding = hold(held);
    struct sim_page *page = calloc(1, sizeof(*page));
    void *words = mmap(NULL, sizeof(*page->page), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!holding || !page || words == MAP_FAILED) {
        free(page);
        if (words != MAP_FAILED) {
            munmap(words, sizeof(*page->page));
        }
        return NULL;
    }
    page->page = words;
    page->proc = held->proc;
    page->refs = 1;
    mf_fence_page_init(page->page, who);
    struct sim_page **bucket = bucket_of(who->incarnation);
    page->next = *bucket;
    *bucket = page;
    holding->page = page;
    held->own = page;
    return page;
}

bool sim_page_publish(struct sim_page *page, uint64_t epoch, struct sim_object *object)
{
    struct sim_published *published = calloc(1, sizeof(*published));
    if (!published) {
        return false;
    }
    *published = (struct sim_published){epoch, sim_object_get(object), page->published};
    page->published = published;
    return true;
}

void sim_page_withdraw(struct sim_page *page, uint64_t epoch)
{
    struct sim_published **at = &page->published;
    while (*at && (*at)->epoch != epoch) {
        at = &(*at)->next;
    }
    struct sim_published *published = *at;
    if (published) {
        *at = published->next;
        sim_object_put(published->object);
        free(published);
    }
}

struct sim_object *sim_page_object(const struct sim_page *page, uint64_t epoch)
{
    const struct sim_published *published = page->published;
    while (published && published->epoch != epoch) {
        published = published->next;
    }
    return published ? published->object : NULL;
}

struct sim_page *sim_held_page(struct sim_held *held, const struct sim_proc *proc,
                               uint64_t incarnation)
{
    struct sim_page *page = *bucket_of(incarnation);
    while (page && (page->page->incarnation != incarnation || page->proc != proc)) {
        page = page->next;
    }
    struct holding *holding = page ? hold(held) : NULL;
    if (!holding) {
        return NULL;
    }
    page->refs++;
    holding->page = page;
    return page;
}

void sim_held_drop_page(struct sim_held *held, struct sim_page *page)
{
    if (page) {
        drop(held, page, NULL);
    }
}

struct sim_object *sim_held_object(struct sim_held *held, struct sim_object *object)
{
    struct holding *holding = object ? hold(held) : NULL;
    if (!holding) {
        return NULL;
    }
    holding->object = sim_object_get(object);
    return object;
}

void sim_held_drop_object(struct sim_held *held, struct sim_object *object)
{
    if (object) {
        drop(held, NULL, object);
    }
}

/* ---- ends of other processes ---- */

static void on_end(void *arg)
{
    struct sim_watch *watch = arg;
    watch->hooked = false;
    sim_event_set(&watch->event, sim_now() + sim_below(NOTICE_MAX_NS));
}

static void on_notice(void *arg)
{
    struct sim_watch *watch = arg;
    sim_loop_raise(watch->loop, &watch->source);
}

struct sim_watch *sim_held_watch(struct sim_held *held, struct mf_loop *loop, struct sim_proc *proc,
                                 void (*fn)(void *arg), void *arg)
{
    struct sim_watch *watch = calloc(1, sizeof(*watch));
    if (!watch) {
        return NULL;
    }
    watch->loop = loop;
    watch->proc = proc;
    watch->source = (struct sim_source){.fn = fn, .arg = arg};
    sim_event_init(&watch->event, held->proc, on_notice, watch);
    watch->hook = (struct sim_hook){.fn = on_end, .arg = watch};
    watch->next = held->watches;
    if (watch->next) {
        watch->next->prev = watch;
    }
    held->watches = watch;
    if (sim_proc_state(proc) == SIM_ENDED) {
        sim_event_set(&watch->event, sim_now() + sim_below(NOTICE_MAX_NS));
    } else {
        sim_proc_hook(proc, &watch->hook);
        watch->hooked = true;
    }
    return watch;
}

void sim_held_unwatch(struct sim_held *held, struct sim_watch *watch)
{
    free_watch(held, watch);
}
