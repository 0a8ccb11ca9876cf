// SPDX-License-Identifier: Apache-2.0
// The bodies of the x86 kernels, once for each vector width: kernels_x86.c includes this file after
// it has defined
//   ISA(name)         the name with the instruction set in it
//   ISA_TARGET        the target attribute
//   VEC, VEC_BYTES    the vector type and its size
//   LOAD(p)           unaligned load
//   STORE(p, v)       store to an address aligned to the vector
//   STREAM(p, v)      the same past the caches
// and takes these definitions back at its end. No include guard, on purpose.

/* Four vectors at a time. */
#define ISA_STEP (4 * VEC_BYTES)

ISA_TARGET static void ISA(plain)(void *dst, const void *src, size_t size)
{
    uint8_t *d = dst;
    const uint8_t *s = src;
    if (size >= MF_STREAM_MIN) {
        size_t head = mf_line_head(d);
        memcpy(d, s, head);
        d += head;
        s += head;
        size -= head;
        for (; size >= ISA_STEP; size -= ISA_STEP, d += ISA_STEP, s += ISA_STEP) {
            VEC v0 = LOAD(s);
            VEC v1 = LOAD(s + VEC_BYTES);
            VEC v2 = LOAD(s + 2 * VEC_BYTES);
            VEC v3 = LOAD(s + 3 * VEC_BYTES);
            STORE(d, v0);
            STORE(d + VEC_BYTES, v1);
            STORE(d + 2 * VEC_BYTES, v2);
            STORE(d + 3 * VEC_BYTES, v3);
        }
    }
    memcpy(d, s, size);
}

/* Streams whole steps and returns how many bytes that were; d is aligned to a line. */
ISA_TARGET static inline size_t ISA(stream_steps)(uint8_t *d, const uint8_t *s, size_t size,
                                                  size_t ahead)
{
    size_t at = 0;
    for (; size - at >= ISA_STEP; at += ISA_STEP) {
        if (ahead) {
            for (size_t line = 0; line < ISA_STEP; line += MF_LINE) {
                _mm_prefetch((const char *)(s + at + ahead + line), _MM_HINT_T0);
            }
        }
        VEC v0 = LOAD(s + at);
        VEC v1 = LOAD(s + at + VEC_BYTES);
        VEC v2 = LOAD(s + at + 2 * VEC_BYTES);
        VEC v3 = LOAD(s + at + 3 * VEC_BYTES);
        STREAM(d + at, v0);
        STREAM(d + at + VEC_BYTES, v1);
        STREAM(d + at + 2 * VEC_BYTES, v2);
        STREAM(d + at + 3 * VEC_BYTES, v3);
    }
    return at;
}

ISA_TARGET static inline void ISA(copy_line)(uint8_t *d, const uint8_t *s)
{
    for (size_t at = 0; at < MF_LINE; at += VEC_BYTES) {
        STREAM(d + at, LOAD(s + at));
    }
}

/* Streams whole blocks of four pages, a line of each page in turn: four places of the memory are
 * open at the same time. Returns how many bytes that were. */
ISA_TARGET static inline size_t ISA(stream_pages)(uint8_t *d, const uint8_t *s, size_t size,
                                                  size_t ahead)
{
    size_t at = 0;
    for (; size - at >= 4 * PAGE; at += 4 * PAGE) {
        for (size_t line = at; line < at + PAGE; line += MF_LINE) {
            if (ahead) {
                _mm_prefetch((const char *)(s + line + ahead), _MM_HINT_T0);
                _mm_prefetch((const char *)(s + line + ahead + PAGE), _MM_HINT_T0);
                _mm_prefetch((const char *)(s + line + ahead + 2 * PAGE), _MM_HINT_T0);
                _mm_prefetch((const char *)(s + line + ahead + 3 * PAGE), _MM_HINT_T0);
            }
            ISA(copy_line)(d + line, s + line);
            ISA(copy_line)(d + line + PAGE, s + line + PAGE);
            ISA(copy_line)(d + line + 2 * PAGE, s + line + 2 * PAGE);
            ISA(copy_line)(d + line + 3 * PAGE, s + line + 3 * PAGE);
        }
    }
    return at;
}

ISA_TARGET static inline void ISA(stream_any)(uint8_t *d, const uint8_t *s, size_t size,
                                              size_t ahead, bool pages)
{
    if (size >= MF_STREAM_MIN) {
        size_t head = mf_line_head(d);
        memcpy(d, s, head);
        d += head;
        s += head;
        size -= head;
        size_t done = pages ? ISA(stream_pages)(d, s, size, ahead) : 0;
        done += ISA(stream_steps)(d + done, s + done, size - done, ahead);
        _mm_sfence();
        d += done;
        s += done;
        size -= done;
    }
    memcpy(d, s, size);
}

ISA_TARGET static void ISA(stream)(void *dst, const void *src, size_t size)
{
    ISA(stream_any)(dst, src, size, 0, false);
}

ISA_TARGET static void ISA(stream_pf)(void *dst, const void *src, size_t size)
{
    ISA(stream_any)(dst, src, size, MF_PREFETCH_AHEAD, false);
}

ISA_TARGET static void ISA(stream4)(void *dst, const void *src, size_t size)
{
    ISA(stream_any)(dst, src, size, 0, true);
}

ISA_TARGET static void ISA(stream4_pf)(void *dst, const void *src, size_t size)
{
    ISA(stream_any)(dst, src, size, MF_PREFETCH_AHEAD / 4, true);
}

#undef ISA_STEP
#undef ISA
#undef ISA_TARGET
#undef VEC
#undef VEC_BYTES
#undef LOAD
#undef STORE
#undef STREAM
