package uring

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Answer is what asking the kernel for a feature may bring.
type Answer uint8

// The three answers.
const (
	CouldNotTell Answer = iota
	Supported
	NotSupported
)

// String returns the answer in words.
func (a Answer) String() string {
	return [...]string{"could not tell", "supported", "not supported"}[a]
}

// Feature is one thing asked of the running kernel.
type Feature struct {
	Name     string
	Since    string // the first Linux that has it
	Answer   Answer
	Fallback string // what stands in
}

// Available returns nil, or why this process can have no io_uring: an old
// kernel, the sysctl kernel.io_uring_disabled, or a seccomp filter.
func Available() error {
	r, err := newRing(1, 0)
	switch {
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("the kernel has no io_uring: %w", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("io_uring is forbidden here (sysctl kernel.io_uring_disabled, or seccomp): %w", err)
	case err != nil:
		return err
	}
	return r.close()
}

// Features asks the running kernel for everything that the engine would use.
func Features() []Feature {
	f := []Feature{
		{"deferred task work on the submitting thread", "6.1", setupAnswer(wanted[0]), "cooperative task work"},
		{"cooperative task work", "5.19", setupAnswer(wanted[1]), "interrupts to the submitting thread"},
		{"fallocate", "5.6", CouldNotTell, "none: io_uring is not used"},
		{"read and write", "5.6", CouldNotTell, "none: io_uring is not used"},
		{"device commands", "5.19", CouldNotTell, "blocking discard; no NVMe passthrough"},
	}
	runtime.LockOSThread() // a ring answers to the thread that made it
	defer runtime.UnlockOSThread()
	r, err := newRing(1, 0)
	if err != nil {
		return f
	}
	defer r.close() // nothing is in flight
	var p probe
	if err := r.register(registerProbe, unsafe.Pointer(&p), len(p.ops)); err != nil {
		return f
	}
	known := func(op int) Answer { return answer(p.ops[op].flags&probeSupported != 0) }
	f[2].Answer, f[3].Answer, f[4].Answer = known(opFallocate), known(opWrite), known(opCommand)
	return f
}

func answer(yes bool) Answer {
	if yes {
		return Supported
	}
	return NotSupported
}

func setupAnswer(flags uint32) Answer {
	r := &ring{fd: -1}
	err := r.setup(1, flags)
	switch {
	case err == nil:
		return answer(r.close() == nil)
	case errors.Is(err, unix.EINVAL):
		return NotSupported
	}
	return CouldNotTell
}
