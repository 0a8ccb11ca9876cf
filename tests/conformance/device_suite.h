// SPDX-License-Identifier: Apache-2.0
// The conformance suite of device plug-ins: what every device promises to the library, by the words
// of mf_device.h alone. It runs over a plug-in that is named on the command line; a new plug-in
// adds a line to device.cmake, not tests.
#ifndef MF_DEVICE_SUITE_H
#define MF_DEVICE_SUITE_H

#include "config/config.h"
#include "device/device.h"
#include "mf_test.h"

/** State of one test: an open device with one stream. */
struct suite {
    struct mf_log log;
    struct mf_env env;
    struct mf_config config;
    const char *plugin;
    struct mf_dev *dev;
    void *stream;
    uint64_t unit; /* granularity */
};

/** Mapped memory in a window of its own. */
struct place {
    mf_dev_mem mem;
    uint64_t addr;
    uint64_t size; /* bytes */
};

/** The plug-in's function, with the instance as first argument. */
#define DEV(s, fn, ...) ((s)->dev->ops.fn((s)->dev->impl, ##__VA_ARGS__))

void place_create(struct suite *s, uint64_t size, struct place *out);
void place_destroy(struct suite *s, struct place *place);
/** `len` rounded up to the granularity. */
uint64_t whole_units(const struct suite *s, uint64_t len);
/** Skip the test, saying why, when rc says that the plug-in lacks an optional member. */
void skip_without(int rc, const char *member);
/** Wait for the suite's stream, at most 10 s. */
int sync_stream(struct suite *s);
uint64_t soon(struct suite *s);
/** Bytes that depend on seed and offset. */
void pattern(uint8_t *buf, size_t len, uint32_t seed);
/** The number of an address. */
static inline uint64_t num(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

/* device_memory_cases.c */
void test_device__says_what_it_is(void **state);
void test_device__refuses_an_ordinal_that_is_not_there(void **state);
void test_device__memory_is_zeroed(void **state);
void test_device__refuses_sizes_off_the_granularity(void **state);
void test_device__window_is_where_it_was_granted(void **state);
void test_device__map_needs_a_window(void **state);
void test_device__map_refuses_overlap(void **state);
void test_device__unmap_takes_whole_mappings(void **state);
void test_device__query_knows_mappings_only(void **state);
void test_device__memory_outlives_its_handle_while_mapped(void **state);
void test_device__part_of_memory_maps_at_an_offset(void **state);
void test_device__punched_memory_reads_zero(void **state);
void test_device__import_sees_the_exporters_bytes(void **state);
void test_device__import_refuses_a_stranger(void **state);
void test_device__two_instances_share_nothing(void **state);
void test_device__close_frees_what_is_left(void **state);

/* device_copy_cases.c */
void test_device__copies_in_every_direction(void **state);
void test_device__copies_at_odd_offsets_and_sizes(void **state);
void test_device__copy_crosses_adjacent_mappings(void **state);
void test_device__copy_refuses_what_is_not_mapped(void **state);
void test_device__copy_of_nothing_is_fine(void **state);
void test_device__batch_copies_all(void **state);
void test_device__batch_names_the_element_it_refuses(void **state);
void test_device__fill_sets_its_range_only(void **state);
void test_device__fill_refuses_what_is_not_mapped(void **state);
void test_device__small_elements_do_not_tear(void **state);

/* device_stream_cases.c */
void test_device__stream_keeps_its_order(void **state);
void test_device__sync_of_an_idle_stream_returns(void **state);
void test_device__wait_holds_the_stream_until_the_word(void **state);
void test_device__wait_is_released_by_a_larger_word(void **state);
void test_device__words_must_be_aligned(void **state);
void test_device__sync_keeps_its_deadline(void **state);
void test_device__event_happens_when_the_stream_is_there(void **state);
void test_device__event_recorded_again_replaces(void **state);
void test_device__stream_waits_for_an_event(void **state);
void test_device__held_stream_can_be_destroyed(void **state);
void test_device__host_function_sees_device_memory(void **state);
void test_device__streams_of_many_threads(void **state);

#endif
