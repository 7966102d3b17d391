package uring

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel is the system call behind a ring, so that a test can put a kernel
// in its place that fails on purpose.
type kernel interface {
	// enter is io_uring_enter(2): it takes up to submit submissions, waits
	// for wait completions, and returns how many it took. short says that
	// the wait will be.
	enter(submit, wait, flags uint32, short bool) (int, unix.Errno)
	// yield is sched_yield(2).
	yield()
}

// ring is a submission and a completion queue shared with the kernel. It
// belongs to one thread.
type ring struct {
	kernel kernel
	flags  uint32 // as set up

	sqHead, sqTail, sqFlags *uint32
	cqHead, cqTail          *uint32
	sqMask, cqMask          uint32
	sqes, cqes              unsafe.Pointer
	sqeStep, cqeStep        uintptr // bytes; twice as much for 128-byte commands

	tail    uint32 // of submissions, ahead of what the kernel was told
	pending uint32 // submissions not yet taken by the kernel

	fd    int
	holds bool // files or buffers are registered
	rings []byte
	sqMem []byte
}

// wanted are the sets of flags to try, the best first. DEFER_TASKRUN lets the
// kernel finish completions on our thread, when we ask, without an interrupt.
var wanted = []uint32{
	setupSubmitAll | setupSingleIssuer | setupDeferTaskrun | setupTaskrunFlag, // 6.1
	setupSubmitAll | setupCoopTaskrun | setupTaskrunFlag,                      // 5.19
	0,
}

// newRing sets up a ring of at least entries submissions with the best flags
// that the kernel knows, and more.
func newRing(entries, more uint32) (*ring, error) {
	var err error
	for _, flags := range wanted {
		r := &ring{fd: -1}
		if err = r.setup(entries, flags|more); err == nil {
			return r, nil
		}
		if !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	return nil, fmt.Errorf("io_uring_setup: %w", err)
}

func (r *ring) setup(entries, flags uint32) error {
	p := params{flags: flags | setupCQSize, cqEntries: 2 * entries}
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return e
	}
	r.fd, r.flags = int(fd), p.flags
	if p.features&featNoDrop == 0 {
		return errors.Join(errors.New("kernel before 5.5: it drops completions"), r.close())
	}
	if err := r.mmap(&p); err != nil {
		return errors.Join(err, r.close())
	}
	return nil
}

// mmap maps the two rings, which share one mapping since Linux 5.4, and the
// submissions.
func (r *ring) mmap(p *params) (err error) {
	r.sqeStep, r.cqeStep = uintptr(sqeSize), uintptr(cqeSize)
	if r.flags&setupSQE128 != 0 {
		r.sqeStep *= 2
	}
	if r.flags&setupCQE32 != 0 {
		r.cqeStep *= 2
	}
	size := max(p.sq.array+4*p.sqEntries, p.cq.cqes+p.cqEntries*uint32(r.cqeStep))
	const prot, how = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if r.rings, err = unix.Mmap(r.fd, offsetSQ, int(size), prot, how); err != nil {
		return fmt.Errorf("mapping the rings: %w", err)
	}
	if r.sqMem, err = unix.Mmap(r.fd, offsetSQEs, int(p.sqEntries)*int(r.sqeStep), prot, how); err != nil {
		return fmt.Errorf("mapping the submissions: %w", err)
	}
	at := func(off uint32) unsafe.Pointer { return unsafe.Pointer(&r.rings[off]) }
	word := func(off uint32) *uint32 { return (*uint32)(at(off)) }
	r.sqHead, r.sqTail, r.sqFlags = word(p.sq.head), word(p.sq.tail), word(p.sq.flags)
	r.cqHead, r.cqTail = word(p.cq.head), word(p.cq.tail)
	r.sqMask, r.cqMask = *word(p.sq.mask), *word(p.cq.mask)
	r.sqes, r.cqes = unsafe.Pointer(unsafe.SliceData(r.sqMem)), at(p.cq.cqes)
	for i, array := uint32(0), unsafe.Slice(word(p.sq.array), p.sqEntries); i < p.sqEntries; i++ {
		array[i] = i // submission i stands in place i, for good
	}
	r.kernel = &syscalls{fd: uintptr(r.fd)}
	return nil
}

func (r *ring) register(op uintptr, arg unsafe.Pointer, n int) error {
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), op, uintptr(arg), uintptr(n), 0, 0)
	if e != 0 {
		return e
	}
	r.holds = r.holds || op == registerFiles || op == registerBuffers
	return nil
}

// unregister gives back what was registered. On 6.1 it waits, a signal of the
// Go runtime ends that, and the drive stays in use for some seconds: so none
// gets through meanwhile.
func (r *ring) unregister() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return fmt.Errorf("blocking signals: %w", err)
	}
	var errs []error
	for _, op := range []uintptr{unregisterBuffers, unregisterFiles} {
		if err := r.register(op, nil, 0); err != nil && err != unix.ENXIO { // nothing was registered
			errs = append(errs, fmt.Errorf("unregistering from io_uring: %w", err))
		}
	}
	return errors.Join(append(errs, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil))...)
}

// next returns the next free submission, zeroed. The caller never holds more
// than the ring has.
func (r *ring) next() *sqe {
	s := (*sqe)(unsafe.Add(r.sqes, uintptr(r.tail&r.sqMask)*r.sqeStep))
	clear(unsafe.Slice((*byte)(unsafe.Pointer(s)), r.sqeStep))
	r.tail++
	r.pending++
	return s
}

// ready returns the number of completions to be read.
func (r *ring) ready() uint32 { return atomic.LoadUint32(r.cqTail) - *r.cqHead }

// take returns the oldest completion and makes room for another. Only when
// ready is not 0.
func (r *ring) take() cqe {
	head := *r.cqHead
	c := *(*cqe)(unsafe.Add(r.cqes, uintptr(head&r.cqMask)*r.cqeStep))
	atomic.StoreUint32(r.cqHead, head+1)
	return c
}

// waiting reports whether the kernel has completions that only an enter
// brings into the ring.
func (r *ring) waiting() bool {
	const told = setupTaskrunFlag
	return r.flags&setupIOPoll != 0 || r.flags&told != 0 && atomic.LoadUint32(r.sqFlags)&sqTaskrun != 0
}

// handful is how many submissions one system call hands over: a drive works on
// the first while the next are prepared, and interrupts come spread out. With
// 32 reads of 4 KiB in flight on a virtio drive, 16 at a time made 0.93 of the
// IOPS that 8 did, 2 made 1.04, and 1 made 1.05 at a sixth more CPU.
const handful = 2

// enter hands pending submissions over and waits until there are wait
// completions in the ring, those included that are there already. EINTR, EAGAIN
// and EBUSY are for the caller to try again.
func (r *ring) enter(wait uint32, short bool) error {
	atomic.StoreUint32(r.sqTail, r.tail)
	for r.pending > handful {
		if err := r.call(handful, 0, 0, true); err != nil {
			return err
		}
	}
	var flags uint32
	if wait > 0 || r.waiting() {
		flags = enterGetEvents
	}
	return r.call(r.pending, wait, flags, short)
}

func (r *ring) call(submit, wait, flags uint32, short bool) error {
	n, e := r.kernel.enter(submit, wait, flags, short)
	if e != 0 {
		// What was consumed before the error is told by the ring itself.
		r.pending = r.tail - atomic.LoadUint32(r.sqHead)
		return e
	}
	r.pending -= uint32(n)
	return nil
}

// close gives everything back. Files and buffers are unregistered by name:
// closing the ring alone frees them some time later, and the drive would
// still be in use when it is opened again.
func (r *ring) close() error {
	var errs []error
	if r.holds {
		errs = append(errs, r.unregister())
	}
	for _, m := range [][]byte{r.rings, r.sqMem} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	if r.fd >= 0 {
		errs = append(errs, unix.Close(r.fd))
	}
	r.fd, r.holds, r.rings, r.sqMem = -1, false, nil, nil
	return errors.Join(errs...)
}

// syscalls is the real kernel.
//
// The Go runtime takes the processor slot (P) of a thread that it finds in a
// system call about every 20 us and wakes another thread to use it, 4,000
// times a second where waits are as short as a drive's. So a short wait is
// made without telling the runtime. Should it turn out long after all, the
// runtime's preemption signal, sent after 10 ms or when the world is to stop,
// ends it with EINTR, and the next is made the usual way.
type syscalls struct{ fd uintptr }

func (s *syscalls) enter(submit, wait, flags uint32, short bool) (int, unix.Errno) {
	var n uintptr
	var e unix.Errno
	if short {
		n, _, e = unix.RawSyscall6(unix.SYS_IO_URING_ENTER, s.fd, uintptr(submit), uintptr(wait), uintptr(flags), 0, 0)
	} else {
		n, _, e = unix.Syscall6(unix.SYS_IO_URING_ENTER, s.fd, uintptr(submit), uintptr(wait), uintptr(flags), 0, 0)
	}
	return int(n), e
}
