// Package blockdev is the way of a request to a drive: one value, Request,
// walks in batches through a Queue to a Device and comes back completed.
//
// The encrypted volume of package blockcrypt implements the same interfaces
// over a Device, so that plain and encrypted I/O are the same loop with one
// stage swapped.
package blockdev

// Op is what a Request asks for.
type Op uint8

// The operations of a Queue.
const (
	// Read fills Buf from Offset.
	Read Op = iota
	// Write stores Buf at Offset. It is on stable storage only after a later
	// Flush, or if it carried FUA.
	Write
	// Flush puts on stable storage every write that completed before the
	// Flush was submitted. Offset, Length and Buf are ignored.
	Flush
	// Discard tells the drive that Length bytes at Offset are unused. What
	// is read there afterwards is undefined. A device without it answers
	// ErrNotSupported.
	Discard
	// WriteZeroes makes Length bytes at Offset read as zeros.
	WriteZeroes
)

// String returns the operation's name as error messages use it.
func (o Op) String() string {
	switch o {
	case Read:
		return "read"
	case Write:
		return "write"
	case Flush:
		return "flush"
	case Discard:
		return "discard"
	case WriteZeroes:
		return "write zeroes"
	}
	return "unknown operation"
}

// Flags modify a Request.
type Flags uint8

// FUA (force unit access) on Write or WriteZeroes: the data is on stable
// storage when the request completes.
const FUA Flags = 1 << 0

// Request is one I/O. The caller fills the first group of fields, hands a
// pointer to Queue.Submit and must not touch the value or Buf until Reap has
// returned it; the Queue fills the second group. A Request is reused freely,
// nothing is allocated for it.
type Request struct {
	Op     Op
	Flags  Flags
	Offset int64  // bytes, a multiple of Info.Sector
	Length int64  // bytes, of Discard and WriteZeroes; Read and Write use len(Buf)
	Buf    []byte // of Read and Write: length a multiple of Info.Sector, address of Info.Align
	Tag    uint64 // the caller's, never looked at

	// Err is nil or an *OpError that names operation, device and offset.
	// A failed request says nothing about its neighbours.
	Err error
	// Stamps says when the request passed each station.
	Stamps Stamps
	// Slot is the place that the request held in the device's queue,
	// QueueOptions.SlotBase and up: no two requests in flight share one. A
	// probe in the kernel stamps its own times under this number.
	Slot uint16
}

// Span returns the number of bytes that the request covers on the device.
func (r *Request) Span() int64 {
	switch r.Op {
	case Read, Write:
		return int64(len(r.Buf))
	case Discard, WriteZeroes:
		return r.Length
	}
	return 0
}

// Stamps are times in nanoseconds of CLOCK_MONOTONIC (see Now), 0 where a
// request did not pass the station.
type Stamps struct {
	Submitted int64 // taken over by the first Queue
	Encrypted int64 // ciphertext of a write is ready
	Issued    int64 // handed to the kernel
	Completed int64 // the kernel's answer was seen
	Decrypted int64 // plaintext of a read is ready
	Reaped    int64 // given back to the caller
}

// Queue takes requests and gives them back completed. It belongs to one
// goroutine, which the engine may require to be locked to its thread
// (runtime.LockOSThread) from OpenQueue to Close; more queues, more cores.
//
// Completions come in any order, each exactly once. Overlapping requests in
// flight are the caller's business. After Close, or when the device has
// vanished, every request in flight completes with an error; none hangs.
type Queue interface {
	// Submit takes over as many of reqs as there is room for, in order, and
	// returns how many. Fewer than len(reqs) without an error means that the
	// queue is full: Reap, then submit the rest. A request that is malformed
	// (unaligned, outside the device, nil buffer) is taken and completes with
	// an error. The error is ErrClosed, or that of an engine that can take
	// nothing any more. An engine may hand requests to the kernel only at the
	// next Reap, all at once; Reap with no room in done does just that.
	Submit(reqs []*Request) (int, error)

	// Reap waits until at least min requests are complete, or all in flight
	// if those are fewer, moves up to len(done) of them into done and returns
	// how many. min 0 polls. min above len(done) counts as len(done).
	Reap(done []*Request, min int) (int, error)

	// Depth returns how many requests the queue holds at most: those
	// submitted and not yet reaped.
	Depth() int

	// Close waits for what the kernel still holds and releases the queue.
	// Requests that were not reaped get ErrClosed, or their own result. It
	// does not flush the device.
	Close() error
}

// Threaded is a Queue that makes blocking system calls.
type Threaded interface {
	Queue
	// Threads returns the ids (gettid(2)) of the threads that make the calls,
	// in the order of their slots from SlotBase on. A thread has one request
	// in flight. Nil says that requests are handed to the kernel by the
	// thread that submits, which does not wait for them.
	Threads() []int
}

// QueueOptions shapes a Queue. The zero value is a queue of depth 1.
type QueueOptions struct {
	// Depth is the most requests in flight; 0 means 1.
	Depth int
	// Buffers, if not nil, is memory that the engine may register with the
	// kernel; requests whose Buf lies inside it go without page pinning.
	// It must stay open as long as the queue.
	Buffers *Arena
	// MaxTransfer is the largest Buf that will be submitted, in bytes; an
	// encrypted queue sizes its buffers by it. 0 means DefaultMaxTransfer.
	MaxTransfer int
	// SlotBase is the first Request.Slot of the queue; it uses Depth numbers
	// from there on. Queues that one probe watches get ranges of their own.
	SlotBase uint16
	// Stacked says that the caller is a stage between its own callers and this
	// queue, and stamps Submitted itself: the queue may leave it 0. To read the
	// clock takes 27 ns, a tenth of encrypting 4 KiB.
	Stacked bool
	// AnyThread gives a queue that may be used from different threads, one
	// at a time, where an engine would bind it to one; it may be slower.
	AnyThread bool
}

// DefaultMaxTransfer is QueueOptions.MaxTransfer where none is given: 1 MiB.
const DefaultMaxTransfer = 1 << 20

// Device is an open drive, partition or file, or an encrypted volume over
// one. Its methods may be called from any goroutine.
type Device interface {
	// Info describes the device as it was when opened.
	Info() Info
	// OpenQueue opens one way to it.
	OpenQueue(QueueOptions) (Queue, error)
	// Close releases the device. Its queues must be closed first.
	Close() error
}

// Info describes a Device.
type Info struct {
	Path     string // as it was opened; names the device in errors
	Engine   string // "direct", "io_uring", "volume", ...
	Size     int64  // bytes
	Sector   int    // bytes; Offset and length of every request are multiples
	Physical int    // bytes; the drive's own unit of an atomic write, at least Sector
	Align    int    // bytes; the address of every Buf is a multiple
	ReadOnly bool
	Discard  bool // Discard is supported
}
