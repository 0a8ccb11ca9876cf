// SPDX-License-Identifier: Apache-2.0
// Where this process has memory of a pool that does not lie at its global address: a sorted array,
// changed by one writer at a time and read by threads that copy, which look again when a writer was
// at work meanwhile. An array that has become too small is kept until the end, since a reader may
// be in it: together they are less than the last one.
#include "gva/places.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/thread.h"

#define FIRST_CAP 16u

struct entry {
    _Atomic uint64_t addr, size, gva;
};

struct mf_gva_places_array {
    struct mf_gva_places_array *older;
    uint32_t cap;
    struct entry v[];
};

void mf_gva_places_init(struct mf_gva_places *places)
{
    atomic_init(&places->lo, UINT64_MAX);
    atomic_init(&places->hi, 0);
    atomic_init(&places->sequence, 0);
    atomic_init(&places->count, 0);
    atomic_init(&places->array, NULL);
}

void mf_gva_places_fini(struct mf_gva_places *places)
{
    struct mf_gva_places_array *array = atomic_load(&places->array);
    while (array) {
        struct mf_gva_places_array *older = array->older;
        mf_free(array);
        array = older;
    }
    mf_gva_places_init(places);
}

/* Acquire: what is read after a load is not older than it, so that the look at the sequence that
 * follows sees the writer whose value was read. */
static struct mf_gva_place get(const struct mf_gva_places_array *array, uint32_t i)
{
    const struct entry *e = &array->v[i];
    return (struct mf_gva_place){
        .addr = atomic_load_explicit(&e->addr, memory_order_acquire),
        .size = atomic_load_explicit(&e->size, memory_order_acquire),
        .gva = {atomic_load_explicit(&e->gva, memory_order_acquire)},
    };
}

static void put(struct mf_gva_places_array *array, uint32_t i, struct mf_gva_place place)
{
    struct entry *e = &array->v[i];
    atomic_store_explicit(&e->addr, place.addr, memory_order_release);
    atomic_store_explicit(&e->size, place.size, memory_order_release);
    atomic_store_explicit(&e->gva, place.gva.v, memory_order_release);
}

/* Number of places that begin at or below the address. */
static uint32_t rank_of(const struct mf_gva_places_array *array, uint32_t count, uint64_t addr)
{
    uint32_t low = 0;
    while (low < count) {
        uint32_t mid = low + (count - low) / 2;
        if (atomic_load_explicit(&array->v[mid].addr, memory_order_acquire) <= addr) {
            low = mid + 1;
        } else {
            count = mid;
        }
    }
    return low;
}

/* ---- readers ---- */

static void look(const struct mf_gva_places *places, uint64_t addr, struct mf_gva_around *out)
{
    const struct mf_gva_places_array *array =
        atomic_load_explicit(&places->array, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&places->count, memory_order_acquire);
    *out = (struct mf_gva_around){.lo = 0, .hi = UINT64_MAX};
    if (!array) {
        return;
    }
    count = count < array->cap ? count : array->cap; /* it may be that of a larger one */
    uint32_t next = rank_of(array, count, addr);
    if (next > 0) {
        out->place = get(array, next - 1);
        out->inside = addr - out->place.addr < out->place.size;
        out->lo = out->place.addr + out->place.size;
    }
    if (next < count) {
        out->hi = atomic_load_explicit(&array->v[next].addr, memory_order_acquire);
    }
}

void mf_gva_place_around(const struct mf_gva_table *table, uint64_t addr, struct mf_gva_around *out)
{
    const struct mf_gva_places *places = &table->places;
    for (;;) {
        uint32_t before = atomic_load_explicit(&places->sequence, memory_order_acquire);
        if ((before & 1) == 0) {
            look(places, addr, out);
            if (atomic_load_explicit(&places->sequence, memory_order_relaxed) == before) {
                return;
            }
        }
        mf_thread_yield(); /* the writer moves a few words and is done */
    }
}

bool mf_gva_place_global(const struct mf_gva_table *table, uint64_t addr, mf_gva *out)
{
    struct mf_gva_around around = {.inside = false};
    if (mf_gva_place_near(table, addr, 1)) {
        mf_gva_place_around(table, addr, &around);
    }
    if (around.inside) {
        out->v = around.place.gva.v + (addr - around.place.addr);
    }
    return around.inside;
}

/* ---- writers, one at a time ---- */

static void begin(struct mf_gva_places *places)
{
    atomic_fetch_add_explicit(&places->sequence, 1, memory_order_acq_rel);
}

/* The bounds are set while the places are as they say: a reader that has been given an address of a
 * place finds it inside. */
static void end(struct mf_gva_places *places, const struct mf_gva_places_array *array,
                uint32_t count)
{
    uint64_t lo = UINT64_MAX;
    uint64_t hi = 0;
    if (count > 0) {
        struct mf_gva_place last = get(array, count - 1);
        lo = get(array, 0).addr;
        hi = last.addr + last.size;
    }
    atomic_store_explicit(&places->count, count, memory_order_release);
    atomic_store_explicit(&places->lo, lo, memory_order_release);
    atomic_store_explicit(&places->hi, hi, memory_order_release);
    atomic_fetch_add_explicit(&places->sequence, 1, memory_order_release);
}

/* Room for one more: the array, or a copy of it that is twice as large. NULL: out of memory. */
static struct mf_gva_places_array *make_room(struct mf_gva_places *places, uint32_t count)
{
    struct mf_gva_places_array *old = atomic_load(&places->array);
    if (old && count < old->cap) {
        return old;
    }
    uint32_t cap = old ? old->cap * 2 : FIRST_CAP;
    struct mf_gva_places_array *array =
        mf_calloc(1, sizeof(*array) + cap * sizeof(array->v[0]), "places of a pool's segments");
    if (!array) {
        return NULL;
    }
    array->older = old;
    array->cap = cap;
    for (uint32_t i = 0; i < count; i++) {
        put(array, i, get(old, i));
    }
    return array;
}

static int check_new(const struct mf_gva_table *table, const struct mf_gva_place *place)
{
    struct mf_gva_around around;
    struct mf_gva_place other = {0};
    mf_gva_place_around(table, place->addr, &around);
    if (place->size == 0 || place->addr == 0 || place->addr + place->size < place->addr ||
        place->gva.v + place->size < place->gva.v) {
        return mf_err(SMEM_INVALID_PARAM,
                      "place 0x%" PRIx64 " of 0x%" PRIx64 ", %" PRIu64 " bytes: is empty or wraps",
                      place->addr, place->gva.v, place->size);
    }
    if (!around.inside && place->size <= around.hi - place->addr &&
        !mf_gva_place_of(table, place->gva, place->size, false, &other)) {
        return SMEM_OK;
    }
    return mf_err(SMEM_DUPLICATED,
                  "place 0x%" PRIx64 " of 0x%" PRIx64 ", %" PRIu64
                  " bytes: overlaps a place at 0x%" PRIx64,
                  place->addr, place->gva.v, place->size,
                  around.inside ? around.place.addr
                  : other.size  ? other.addr
                                : around.hi);
}

int mf_gva_place_add(struct mf_gva_table *table, const struct mf_gva_place *place)
{
    struct mf_gva_places *places = &table->places;
    uint32_t count = atomic_load(&places->count);
    int rc = check_new(table, place);
    if (rc) {
        return rc;
    }
    struct mf_gva_places_array *array = make_room(places, count);
    if (!array) {
        return SMEM_MALLOC_FAILED;
    }
    uint32_t at = rank_of(array, count, place->addr);
    begin(places);
    for (uint32_t i = count; i > at; i--) {
        put(array, i, get(array, i - 1));
    }
    put(array, at, *place);
    atomic_store_explicit(&places->array, array, memory_order_release);
    end(places, array, count + 1);
    return SMEM_OK;
}

void mf_gva_place_remove(struct mf_gva_table *table, uint64_t addr)
{
    struct mf_gva_places *places = &table->places;
    struct mf_gva_places_array *array = atomic_load(&places->array);
    uint32_t count = atomic_load(&places->count);
    uint32_t at = count > 0 ? rank_of(array, count, addr) : 0;
    if (at == 0 || get(array, at - 1).addr != addr) {
        return;
    }
    begin(places);
    for (uint32_t i = at; i < count; i++) {
        put(array, i - 1, get(array, i));
    }
    end(places, array, count - 1);
}

bool mf_gva_place_of(const struct mf_gva_table *table, mf_gva gva, uint64_t size, bool whole,
                     struct mf_gva_place *out)
{
    const struct mf_gva_places_array *array = atomic_load(&table->places.array);
    uint32_t count = atomic_load(&table->places.count);
    for (uint32_t i = 0; i < count; i++) {
        struct mf_gva_place place = get(array, i);
        uint64_t into = gva.v - place.gva.v;
        bool begins_inside = into < place.size;
        if (whole ? begins_inside && size <= place.size - into
                  : begins_inside || place.gva.v - gva.v < size) {
            *out = place;
            return true;
        }
    }
    return false;
}

bool mf_gva_place_any(const struct mf_gva_table *table, struct mf_gva_place *out)
{
    if (atomic_load(&table->places.count) == 0) {
        return false;
    }
    *out = get(atomic_load(&table->places.array), 0);
    return true;
}
