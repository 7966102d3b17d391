package uring

import "unsafe"

// Numbers and structures of linux/io_uring.h; sizes and offsets are tested.

// io_uring_setup(2) flags.
const (
	setupIOPoll       = 1 << 0  // 5.1
	setupCQSize       = 1 << 3  // 5.5
	setupSubmitAll    = 1 << 7  // 5.18
	setupCoopTaskrun  = 1 << 8  // 5.19
	setupTaskrunFlag  = 1 << 9  // 5.19
	setupSQE128       = 1 << 10 // 5.19
	setupCQE32        = 1 << 11 // 5.19
	setupSingleIssuer = 1 << 12 // 6.0
	setupDeferTaskrun = 1 << 13 // 6.1
)

// enterGetEvents of io_uring_enter(2): bring completions in and wait for them.
const enterGetEvents = 1 << 0

// io_uring_register(2) operations.
const (
	registerBuffers   = 0
	unregisterBuffers = 1
	registerFiles     = 2
	unregisterFiles   = 3
	registerProbe     = 8 // 5.6
)

// Opcodes of a submission.
const (
	opFsync      = 3
	opReadFixed  = 4
	opWriteFixed = 5
	opFallocate  = 17 // 5.6
	opRead       = 22 // 5.6
	opWrite      = 23 // 5.6
	opCommand    = 46 // IORING_OP_URING_CMD, 5.19
)

// Flags of a submission, of the two rings, and of setup's answer.
const (
	sqeFixedFile  = 1 << 0
	sqeAsync      = 1 << 4 // may block: straight to a worker
	fsyncDatasync = 1 << 0
	sqTaskrun     = 1 << 2 // completions wait for an enter
	featNoDrop    = 1 << 1 // 5.5: completions are never dropped
)

// Where mmap(2) of a ring finds what.
const (
	offsetSQ   = 0
	offsetCQ   = 0x8000000
	offsetSQEs = 0x10000000
)

// params is struct io_uring_params.
type params struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle uint32
	features, wqFD                                         uint32
	_                                                      [3]uint32
	sq                                                     sqOffsets
	cq                                                     cqOffsets
}

// sqOffsets is struct io_sqring_offsets.
type sqOffsets struct {
	head, tail, mask, entries, flags, dropped, array, _ uint32
	_                                                   uint64
}

// cqOffsets is struct io_cqring_offsets.
type cqOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, _ uint32
	_                                                   uint64
}

// sqe is struct io_uring_sqe, a submission.
type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64 // of a command: its number, in the low half
	addr     uint64
	length   uint32
	rwFlags  uint32
	userData uint64
	bufIndex uint16
	_        uint16
	_        int32
	addr3    uint64
	_        uint64
}

// cqe is struct io_uring_cqe, a completion.
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

const (
	sqeSize = uint32(unsafe.Sizeof(sqe{}))
	cqeSize = uint32(unsafe.Sizeof(cqe{}))
)

// probe is struct io_uring_probe with room for every opcode.
type probe struct {
	lastOp, opsLen uint8
	_              uint16
	_              [3]uint32
	ops            [256]probeOp
}

// probeOp is struct io_uring_probe_op.
type probeOp struct {
	op, _ uint8
	flags uint16
	_     uint32
}

const probeSupported = 1 << 0
