package keyring

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Quiet runs fn, which handles key bytes, on a thread that takes no signal
// meanwhile, and clears the thread's vector registers behind it.
//
// A copy or a cipher leaves the bytes that it moved in vector registers until
// the next one overwrites them. For a signal the kernel writes the registers
// to the thread's signal stack, and Go's scheduler sends many (SIGURG, to stop
// a goroutine for the collector): a key would stand there until another signal
// to the same thread.
//
// What fn starts on other goroutines is not covered.
func Quiet(fn func() error) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var quiet, before unix.Sigset_t
	for i := range quiet.Val {
		quiet.Val[i] = ^quiet.Val[i]
	}
	// The processor's own complaints of what fn does: the kernel ends a
	// process that has them blocked, where Go makes a panic of most.
	for _, s := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGSYS, unix.SIGABRT} {
		quiet.Val[0] &^= 1 << (s - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &quiet, &before); err != nil {
		return fmt.Errorf("blocking signals: %w", err)
	}
	defer func() {
		clearVectors()
		err = errors.Join(err, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil))
	}()
	return fn()
}
