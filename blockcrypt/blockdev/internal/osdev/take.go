package osdev

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ncw/directio"
	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// patience is how long an open waits for what another program has. A process
// that was killed with I/O on an io_uring is gone before the kernel has given
// back what its ring held (tens of milliseconds); a daemon that starts again
// must not take its own drive for another's.
const patience = time.Second

var (
	errHeld   = fmt.Errorf("%w: opened exclusively by another program", blockdev.ErrBusy)
	errLocked = fmt.Errorf("%w: locked by another program", blockdev.ErrBusy)
)

// take opens path with O_DIRECT and, for writing, takes it for us alone.
func take(path string, block, readOnly bool) (*os.File, error) {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		f, err := attempt(path, block, readOnly)
		if err != errHeld && err != errLocked || time.Now().After(end) {
			return f, err
		}
	}
}

func attempt(path string, block, readOnly bool) (*os.File, error) {
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	} else if block {
		flags |= unix.O_EXCL
	}
	f, err := directio.OpenFile(path, flags, 0)
	switch {
	case block && errors.Is(err, unix.EBUSY), block && errors.Is(err, unix.EPERM) && mounted(path):
		return nil, busy(path) // EPERM: a kernel that lets nobody write to what is mounted
	case errors.Is(err, unix.EINVAL):
		return nil, errors.New("its file system has no direct I/O (O_DIRECT)")
	case err != nil || block || readOnly:
		return f, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		return f, nil
	}
	_ = f.Close() // nothing was written to it
	if err == unix.EWOULDBLOCK {
		return nil, errLocked
	}
	return nil, fmt.Errorf("locking it: %w", err)
}
