// SPDX-License-Identifier: Apache-2.0
// Memory of simulated processes, in place of src/gva/{memory,space,populate,available,adopt}.c.
// Objects lie in one large mapping of this program that is touched where it is used; a process has
// descriptors of objects and places, both of them numbers of its own.
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/limits.h"
#include "gva/memory.h"
#include "gva/space.h"

#define ARENA_BYTES (64ull << 30)
#define SMALL_BYTES (64ull << 10) /* so much is cleared by hand, more by the kernel */
#define CLASSES     16u           /* of sizes whose memory is kept: 1 to 16 large pages */
#define FD_FIRST    100
#define PLACE_BASE  0x180000000000ull
#define BUCKETS     1024u

struct sim_object {
    uint64_t number, size, refs;
    unsigned char *bytes;
    uint64_t high;                  /* nothing was ever written from here on */
    struct sim_object *prev, *next; /* of those that live; next: of the spare ones */
};

struct place {
    uint64_t addr, size;
    struct sim_object *object; /* a reference; NULL: inaccessible, or zero pages */
};

/* What one process has. */
struct holder {
    struct sim_proc *proc;
    struct sim_hook hook;
    struct holder *next;
    struct sim_object **fds;
    uint32_t fd_count;
    struct place *places; /* in order of address */
    uint32_t place_count, place_cap;
    uint32_t short_of; /* makings that fail from now on */
};

static struct {
    unsigned char *arena;
    uint64_t used, numbers;
    struct sim_object *spare[CLASSES + 1]; /* with clean memory, by size */
    struct sim_object *live;
    struct holder *holders[BUCKETS];
} mem;

/* ---- objects ---- */

static struct sim_object *make_object(uint64_t size)
{
    uint64_t pages = size / MF_PAGE_LARGE;
    struct sim_object *object = pages <= CLASSES ? mem.spare[pages] : NULL;
    if (object != NULL) {
        mem.spare[pages] = object->next;
    } else {
        MF_ASSERT(mem.used + size <= ARENA_BYTES);
        object = calloc(1, sizeof(*object));
        MF_ASSERT(object != NULL);
        object->bytes = mem.arena + mem.used;
        object->size = size;
        mem.used += size;
    }
    object->number = ++mem.numbers;
    object->refs = 1;
    object->prev = NULL;
    object->next = mem.live;
    if (mem.live != NULL) {
        mem.live->prev = object;
    }
    mem.live = object;
    return object;
}

static void forget_object(struct sim_object *object)
{
    if (object->next != NULL) {
        object->next->prev = object->prev;
    }
    *(object->prev != NULL ? &object->prev->next : &mem.live) = object->next;
}

struct sim_object *sim_object_get(struct sim_object *object)
{
    object->refs++;
    return object;
}

void sim_object_punch(struct sim_object *object)
{
    if (object->high <= SMALL_BYTES) {
        memset(object->bytes, 0, object->high);
    } else {
        MF_ASSERT(madvise(object->bytes, object->size, MADV_DONTNEED) == 0);
    }
    object->high = 0;
}

void sim_object_put(struct sim_object *object)
{
    if (object == NULL || --object->refs != 0) {
        return;
    }
    uint64_t pages = object->size / MF_PAGE_LARGE;
    sim_object_punch(object);
    forget_object(object);
    if (pages <= CLASSES) {
        object->next = mem.spare[pages];
        mem.spare[pages] = object;
    } else {
        free(object); /* its addresses are used once */
    }
}

uint64_t sim_object_number(const struct sim_object *object)
{
    return object->number;
}

uint64_t sim_object_size(const struct sim_object *object)
{
    return object->size;
}

const unsigned char *sim_object_bytes(const struct sim_object *object)
{
    return object->bytes;
}

void sim_object_write(struct sim_object *object, uint64_t offset, const void *bytes, uint64_t size)
{
    MF_ASSERT(size <= object->size && offset <= object->size - size);
    memmove(object->bytes + offset, bytes, size);
    object->high = offset + size > object->high ? offset + size : object->high;
}

/* ---- what a process has ---- */

static struct holder **bucket_of(const struct sim_proc *proc)
{
    return &mem.holders[sim_proc_pid(proc) % BUCKETS];
}

static struct holder *find_holder(const struct sim_proc *proc)
{
    struct holder *holder = *bucket_of(proc);
    while (holder != NULL && holder->proc != proc) {
        holder = holder->next;
    }
    return holder;
}

static void drop_holder(struct holder *holder)
{
    struct holder **at = bucket_of(holder->proc);
    while (*at != holder) {
        at = &(*at)->next;
    }
    *at = holder->next;
    for (uint32_t i = 0; i < holder->fd_count; i++) {
        sim_object_put(holder->fds[i]);
    }
    for (uint32_t i = 0; i < holder->place_count; i++) {
        sim_object_put(holder->places[i].object);
    }
    free(holder->fds);
    free(holder->places);
    free(holder);
}

static void proc_ended(void *arg)
{
    drop_holder(arg);
}

static struct holder *get_holder(struct sim_proc *proc)
{
    struct holder *holder = find_holder(proc);
    if (holder == NULL) {
        holder = calloc(1, sizeof(*holder));
        MF_ASSERT(holder != NULL);
        holder->proc = proc;
        holder->hook = (struct sim_hook){.fn = proc_ended, .arg = holder};
        holder->next = *bucket_of(proc);
        *bucket_of(proc) = holder;
        sim_proc_hook(proc, &holder->hook);
    }
    return holder;
}

static struct holder *own(void)
{
    return get_holder(sim_proc_self());
}

void sim_memory_open(void)
{
    if (mem.arena == NULL) {
        mem.arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        MF_ASSERT(mem.arena != MAP_FAILED);
    }
    mem.numbers = 0;
}

void sim_memory_close(void)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (mem.holders[i] != NULL) {
            drop_holder(mem.holders[i]);
        }
    }
    while (mem.live != NULL) { /* of messages that were on their way */
        mem.live->refs = 1;
        sim_object_put(mem.live);
    }
}

uint64_t sim_memory_held(const struct sim_proc *proc)
{
    const struct holder *holder = find_holder(proc);
    uint64_t held = holder != NULL ? holder->place_count : 0;
    for (uint32_t i = 0; holder != NULL && i < holder->fd_count; i++) {
        held += holder->fds[i] != NULL;
    }
    return held;
}

void sim_memory_short(struct sim_proc *proc, uint32_t count)
{
    get_holder(proc)->short_of = count;
}

static int fail_when_short(const struct mf_memory_cfg *cfg)
{
    struct holder *holder = own();
    if (holder->short_of == 0) {
        return SMEM_OK;
    }
    holder->short_of--;
    return mf_err(SMEM_MALLOC_FAILED,
                  "%s: %llu bytes are needed and 0 may still be allocated, says the model: ask for "
                  "less or raise the limit",
                  cfg->what, (unsigned long long)cfg->size);
}

/* ---- descriptors: gva/memory.h ---- */

static struct sim_object **slot_of_fd(const struct holder *holder, int fd)
{
    bool known = holder != NULL && fd >= FD_FIRST && (uint32_t)(fd - FD_FIRST) < holder->fd_count;
    return known ? &holder->fds[fd - FD_FIRST] : NULL;
}

struct sim_object *sim_object_of_fd(struct sim_proc *proc, int fd)
{
    struct sim_object **slot = slot_of_fd(find_holder(proc), fd);
    return slot != NULL ? *slot : NULL;
}

static int give_fd(struct holder *holder, struct sim_object *object)
{
    uint32_t i = 0;
    while (i < holder->fd_count && holder->fds[i] != NULL) {
        i++;
    }
    if (i == holder->fd_count) {
        uint32_t count = holder->fd_count == 0 ? 4 : 2 * holder->fd_count;
        holder->fds = realloc(holder->fds, count * sizeof(struct sim_object *));
        MF_ASSERT(holder->fds != NULL);
        memset(holder->fds + i, 0, (count - i) * sizeof(struct sim_object *));
        holder->fd_count = count;
    }
    holder->fds[i] = object;
    return FD_FIRST + (int)i;
}

int mf_memory_create(const struct mf_memory_cfg *cfg, struct mf_memory *out)
{
    *out = (struct mf_memory){.fd = -1, .size = cfg->size, .pages = MF_PAGES_PLAIN};
    if (cfg->size == 0 || cfg->size % MF_PAGE_LARGE != 0) {
        return mf_err(SMEM_INVALID_PARAM, "%s: size %llu is no multiple of 2 MiB", cfg->what,
                      (unsigned long long)cfg->size);
    }
    int rc = fail_when_short(cfg);
    if (rc == SMEM_OK) {
        out->fd = give_fd(own(), make_object(cfg->size));
    }
    return rc;
}

int mf_memory_adopt(const struct mf_memory_cfg *cfg, int fd, struct mf_memory *out)
{
    *out = (struct mf_memory){.fd = -1, .size = cfg->size, .user_fd = true};
    return mf_err(SMEM_INVALID_PARAM, "%s: dramShmFd %d: the model has no memory of the user",
                  cfg->what, fd);
}

uint64_t mf_memory_fit(const struct mf_memory_cfg *cfg, char *why, size_t why_len)
{
    snprintf(why, why_len, "the model has enough");
    return own()->short_of > 0 ? MF_PAGE_LARGE : cfg->size;
}

int mf_memory_check_node(int node)
{
    return node < 0 ? SMEM_OK
                    : mf_err(SMEM_INVALID_PARAM, "NUMA node %d: the model has none", node);
}

int mf_memory_populate(const struct mf_memory_cfg *cfg, const struct mf_memory *memory,
                       uint64_t addr)
{
    (void)memory;
    (void)addr;
    return fail_when_short(cfg);
}

int mf_memory_punch(struct mf_memory *memory)
{
    struct sim_object *object = sim_object_of_fd(sim_proc_self(), memory->fd);
    if (object != NULL) {
        sim_object_punch(object);
    }
    return SMEM_OK;
}

void mf_memory_fini(struct mf_memory *memory)
{
    struct sim_object **slot = slot_of_fd(own(), memory->fd);
    if (slot != NULL) {
        sim_object_put(*slot);
        *slot = NULL;
        memory->fd = -1;
    }
}

uint64_t mf_memory_available(char *why, size_t why_len)
{
    snprintf(why, why_len, "the model has enough");
    return UINT64_MAX;
}

const char *mf_pages_name(enum mf_pages pages)
{
    (void)pages;
    return "pages of the model";
}

/* ---- places: gva/space.h ---- */

/* The first place that ends behind the address; place_count when none does. */
static uint32_t place_at(const struct holder *holder, uint64_t addr)
{
    uint32_t lo = 0, hi = holder->place_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (holder->places[mid].addr + holder->places[mid].size <= addr) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static bool is_free(const struct holder *holder, uint64_t addr, uint64_t size, uint32_t *at)
{
    *at = place_at(holder, addr);
    return *at == holder->place_count || holder->places[*at].addr >= addr + size;
}

static void insert_place(struct holder *holder, uint32_t at, uint64_t addr, uint64_t size)
{
    if (holder->place_count == holder->place_cap) {
        holder->place_cap = holder->place_cap == 0 ? 16 : 2 * holder->place_cap;
        holder->places = realloc(holder->places, holder->place_cap * sizeof(*holder->places));
        MF_ASSERT(holder->places != NULL);
    }
    memmove(holder->places + at + 1, holder->places + at,
            (holder->place_count - at) * sizeof(*holder->places));
    holder->places[at] = (struct place){.addr = addr, .size = size};
    holder->place_count++;
}

int mf_space_reserve(uint64_t addr, uint64_t size)
{
    struct holder *holder = own();
    uint32_t at;
    if (!is_free(holder, addr, size, &at)) {
        return mf_err(SMEM_RES_IN_USE, "reserve %llu bytes of address space at 0x%llx: taken",
                      (unsigned long long)size, (unsigned long long)addr);
    }
    insert_place(holder, at, addr, size);
    return SMEM_OK;
}

int mf_space_reserve_free(uint64_t near, uint64_t size, uint64_t *at)
{
    struct holder *holder = own();
    uint32_t index;
    uint64_t addr = near;
    if (near == 0 || !is_free(holder, near, size, &index)) {
        uint32_t count = holder->place_count;
        addr = count == 0 ? PLACE_BASE
                          : holder->places[count - 1].addr + holder->places[count - 1].size;
    }
    *at = addr;
    return mf_space_reserve(addr, size);
}

static struct place *exact_place(struct holder *holder, uint64_t addr, uint64_t size)
{
    uint32_t at = place_at(holder, addr);
    MF_ASSERT(at < holder->place_count && holder->places[at].addr == addr &&
              holder->places[at].size == size);
    return &holder->places[at];
}

static void set_object(struct place *place, struct sim_object *object)
{
    sim_object_put(place->object);
    place->object = object;
}

int mf_space_release(uint64_t addr, uint64_t size)
{
    struct holder *holder = own();
    struct place *place = exact_place(holder, addr, size);
    set_object(place, NULL);
    uint32_t at = (uint32_t)(place - holder->places);
    holder->place_count--;
    memmove(place, place + 1, (holder->place_count - at) * sizeof(*place));
    return SMEM_OK;
}

void sim_memory_bind(uint64_t addr, uint64_t size, struct sim_object *object)
{
    set_object(exact_place(own(), addr, size), sim_object_get(object));
}

int mf_space_map(uint64_t addr, uint64_t size, int fd, uint64_t offset)
{
    struct sim_object *object = sim_object_of_fd(sim_proc_self(), fd);
    MF_ASSERT(object != NULL && offset == 0 && size == object->size);
    sim_memory_bind(addr, size, object);
    return SMEM_OK;
}

int mf_space_unmap(uint64_t addr, uint64_t size)
{
    set_object(exact_place(own(), addr, size), NULL);
    return SMEM_OK;
}

int mf_space_zero(uint64_t addr, uint64_t size)
{
    return mf_space_unmap(addr, size);
}

bool sim_memory_at(struct sim_proc *proc, uint64_t addr, uint64_t size, struct sim_object **object,
                   uint64_t *offset)
{
    struct holder *holder = find_holder(proc);
    uint32_t at;
    if (holder == NULL || is_free(holder, addr, size, &at)) {
        return false;
    }
    const struct place *place = &holder->places[at];
    *object = place->object;
    *offset = addr - place->addr;
    return true;
}
