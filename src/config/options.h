// SPDX-License-Identifier: Apache-2.0
// The one table of options. `mfcli info --options` and docs/options.md are made from it.
// MF_OPTION(id, name, environment variable, type, unit, default (as text), min, max, help)
// types: U64 (accepts 0x, and the suffixes K M G T for bytes), BOOL (0/1/on/off/true/false), STR.
// No include guard: an X-macro table.

MF_OPTION(LOG_LEVEL, "log.level", "MF_LOG_LEVEL", U64, "level", "2", 0, 5,
          "what is logged: 0 debug, 1 info, 2 warn, 3 error, 4 fatal, 5 trace (most talkative)")
MF_OPTION(GVA_BASE, "gva.base", "MF_GVA_BASE", U64, "address", "0x280000000000", 0x1000000000,
          0x7f0000000000,
          "first address of the global address space; thread-sanitizer builds need 0x2000000000")
MF_OPTION(GVA_SPAN, "gva.span", "MF_GVA_SPAN", U64, "bytes", "40T", 0x40000000, 0x7f0000000000,
          "bytes of address space that all pools of a process may take together")
MF_OPTION(
    GVA_TRANSLATE, "gva.translate", "MF_GVA_TRANSLATE", STR, "", "auto", 0, 0,
    "global addresses that are no local ones: auto (with enable56BitsGva, or when a pool does "
    "not fit into gva.span), always, never (refuse instead); the same on all ranks")
MF_OPTION(DEVICE, "device.plugin", "MF_DEVICE", STR, "", "auto", 0, 0,
          "accelerator: auto, none, sim, or the path of a plug-in")
MF_OPTION(
    TRANSPORT, "transport.plugin", "MF_TRANSPORT_PLUGIN", STR, "", "", 0, 0,
    "path of a transport plug-in that is used instead of the built-in ones with the same operator")
MF_OPTION(SEG_HUGE, "segment.huge", "MF_SEGMENT_HUGE", STR, "", "auto", 0, 0,
          "pages of pool memory: auto (2 MiB pages when enough are free), never, require")
MF_OPTION(SEG_POPULATE_THREADS, "segment.populate_threads", "MF_SEGMENT_POPULATE_THREADS", U64,
          "threads", "0", 0, 64,
          "threads that populate pool memory; 0: one for each core, at most 8")
MF_OPTION(STORE_SESSION_MS, "store.session_ms", "MF_STORE_SESSION_MS", U64, "ms", "3000", 300,
          600000, "a rank that the store does not hear for so long is declared dead")
MF_OPTION(STORE_REQUEST_MS, "store.request_ms", "MF_STORE_REQUEST_MS", U64, "ms", "10000", 10,
          3600000, "deadline of one request to the store, when the caller gives none")
MF_OPTION(
    STORE_SETTLE_MS, "store.settle_ms", "MF_STORE_SETTLE_MS", U64, "ms", "200", 0, 3600000,
    "a store that has just been started gives no rank to a newcomer for so long, so that ranks "
    "that were there before a restart come first; read by who hosts the store; 0 only where "
    "nobody can have been there before")
MF_OPTION(PEER_EAGER, "peer.eager", "MF_PEER_EAGER", U64, "ranks", "64", 0, 1024,
          "peers of the same host that a join maps at once; the others are mapped by the first "
          "call that needs them")
MF_OPTION(PEER_CONNECT_MS, "peer.connect_ms", "MF_PEER_CONNECT_MS", U64, "ms", "5000", 10, 600000,
          "deadline for reaching a peer's process when a call needs its memory")
MF_OPTION(
    PEER_MAP, "peer.map", "MF_PEER_MAP", STR, "", "auto", 0, 0,
    "DRAM of peers of the same host: auto (mapped: its addresses are pointers), never (copies "
    "by process_vm_readv; mapped all the same where the kernel forbids that)")
MF_OPTION(FENCE_MS, "fence.wait_ms", "MF_FENCE_WAIT_MS", U64, "ms", "5000", 1, 600000,
          "how long leave and destroy wait for copies of peers that are under way")
MF_OPTION(COPY_KERNEL, "copy.kernel", "MF_COPY_KERNEL", STR, "", "auto", 0, 0,
          "CPU copy kernel: auto (measured by the first large copy), memcpy, or a name that mfcli "
          "info prints")
MF_OPTION(COPY_THREADS, "copy.threads", "MF_COPY_THREADS", U64, "threads", "0", 0, 16,
          "threads that share one large copy; 0: measured, 1: never share")
MF_OPTION(COPY_CHECKSUM, "copy.checksum", "MF_COPY_CHECKSUM", BOOL, "", "off", 0, 0,
          "checksums (XXH3-64) of what this process copies: each target is read again and compared "
          "with what its source was")
MF_OPTION(COPY_WORKERS, "copy.workers", "MF_COPY_WORKERS", U64, "threads", "0", 0, 16,
          "threads of a pool that carry out requests; 0: two, or one on a single processor")
MF_OPTION(COPY_WAIT_MS, "copy.wait_ms", "MF_COPY_WAIT_MS", U64, "ms", "600000", 1, 86400000,
          "deadline of smem_bm_wait and of a device copy")
MF_OPTION(SIM_DEVICES, "sim.devices", "MF_SIM_DEVICES", U64, "devices", "8", 1, 64,
          "simulated devices that the sim plug-in offers")
MF_OPTION(SIM_MEMORY, "sim.memory", "MF_SIM_MEMORY", U64, "bytes", "16G", 0x200000, 0x10000000000,
          "memory of each simulated device")
MF_OPTION(SIM_BANDWIDTH, "sim.bandwidth", "MF_SIM_BANDWIDTH", U64, "MB/s", "0", 0, 100000000,
          "bandwidth of a simulated device's copies; 0: as fast as the host")
MF_OPTION(SIM_GRANT, "sim.grant", "MF_SIM_GRANT", STR, "", "exact", 0, 0,
          "addresses that a simulated device grants: exact (those wanted), shift (others: pools "
          "translate them)")
MF_OPTION(SIM_LATENCY_NS, "sim.latency_ns", "MF_SIM_LATENCY_NS", U64, "ns", "0", 0, 1000000000,
          "latency added to each operation on a simulated stream")
MF_OPTION(TRACE, "trace.enable", "MF_TRACE", BOOL, "", "on", 0, 0,
          "count and time the calls of this process, for mfcli top and mf_trace_table")
MF_OPTION(
    TRACE_DIR, "trace.file_dir", "MF_TRACE_DIR", STR, "", "", 0, 0,
    "directory in which ptracer_<pid>.dat gets a table of the calls of each period; empty: no "
    "file")
MF_OPTION(TRACE_PERIOD_MS, "trace.period_ms", "MF_TRACE_PERIOD_MS", U64, "ms", "10000", 100,
          3600000, "period of that table")
