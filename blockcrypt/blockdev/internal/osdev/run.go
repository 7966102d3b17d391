package osdev

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// Run carries out r, which has passed blockdev.Check, on the calling thread
// and returns the bare cause of a failure. It allocates nothing.
func (n *Node) Run(r *blockdev.Request) error {
	switch r.Op {
	case blockdev.Read:
		return n.read(r.Buf, r.Offset)
	case blockdev.Write:
		return n.write(r.Buf, r.Offset, r.Flags&blockdev.FUA != 0)
	case blockdev.Flush:
		return n.Flush()
	case blockdev.Discard:
		return n.Discard(r.Offset, r.Length)
	case blockdev.WriteZeroes:
		return n.WriteZeroes(r.Offset, r.Length, r.Flags&blockdev.FUA != 0)
	}
	return blockdev.ErrNotSupported
}

// read goes on after a short transfer; one of nothing is ErrShort: the file
// was cut, or the drive shrank, since it was opened.
func (n *Node) read(buf []byte, off int64) error {
	for len(buf) > 0 {
		got, err := unix.Pread(n.FD, buf, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if got == 0 {
			return blockdev.ErrShort
		}
		buf, off = buf[got:], off+int64(got)
	}
	return nil
}

func (n *Node) write(buf []byte, off int64, fua bool) error {
	var flags uintptr
	if fua {
		flags = unix.RWF_DSYNC
	}
	for len(buf) > 0 {
		put, err := n.pwrite(buf, off, flags)
		if err == unix.EINTR {
			continue
		}
		if flags != 0 && notKnown(err) {
			// pwritev2(2) knows RWF_DSYNC since Linux 4.7.
			return errors.Join(n.write(buf, off, false), n.Flush())
		}
		if err != nil {
			return err
		}
		if put == 0 {
			return blockdev.ErrShort
		}
		buf, off = buf[put:], off+int64(put)
	}
	return nil
}

func (n *Node) pwrite(buf []byte, off int64, flags uintptr) (int, error) {
	if flags == 0 {
		return unix.Pwrite(n.FD, buf, off)
	}
	iov := unix.Iovec{Base: unsafe.SliceData(buf), Len: uint64(len(buf))}
	put, _, e := unix.Syscall6(unix.SYS_PWRITEV2, uintptr(n.FD), uintptr(unsafe.Pointer(&iov)), 1, uintptr(off), 0, flags)
	if e != 0 {
		return 0, e
	}
	return int(put), nil
}

// Flush is fdatasync(2): on a block device it flushes the drive's cache, on a
// file also what is needed to find the data again.
func (n *Node) Flush() error {
	for {
		if err := unix.Fdatasync(n.FD); err != unix.EINTR {
			return err
		}
	}
}

// Discard is BLKDISCARD on a block device, a hole in a file.
func (n *Node) Discard(off, length int64) error {
	if !n.Info.Discard {
		return blockdev.ErrNotSupported
	}
	var err error
	if n.Block {
		err = n.span(unix.BLKDISCARD, off, length)
	} else {
		err = n.fallocate(unix.FALLOC_FL_PUNCH_HOLE, off, length)
	}
	if notKnown(err) {
		return blockdev.ErrNotSupported
	}
	return err
}

// WriteZeroes is BLKZEROOUT, for which the kernel falls back to writing by
// itself, or FALLOC_FL_ZERO_RANGE, for which this writes where the file
// system does not know it.
func (n *Node) WriteZeroes(off, length int64, fua bool) error {
	var err error
	if n.Block {
		err = n.span(unix.BLKZEROOUT, off, length)
	} else {
		err = n.fallocate(unix.FALLOC_FL_ZERO_RANGE, off, length)
	}
	if notKnown(err) {
		err = n.writeZeroes(off, length)
	}
	if err != nil || !fua {
		return err
	}
	return n.Flush()
}

func (n *Node) writeZeroes(off, length int64) error {
	for length > 0 {
		part := min(length, int64(len(n.zeros)))
		if err := n.write(n.zeros[:part], off, false); err != nil {
			return err
		}
		off, length = off+part, length-part
	}
	return nil
}

// span is one of the ioctls that take {offset, length}.
func (n *Node) span(req uintptr, off, length int64) error {
	arg := [2]uint64{uint64(off), uint64(length)}
	for {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(n.FD), req, uintptr(unsafe.Pointer(&arg))); e == 0 {
			return nil
		} else if e != unix.EINTR {
			return e
		}
	}
}

func (n *Node) fallocate(mode uint32, off, length int64) error {
	for {
		if err := unix.Fallocate(n.FD, mode|unix.FALLOC_FL_KEEP_SIZE, off, length); err != unix.EINTR {
			return err
		}
	}
}

// notKnown: the kernel or file system lacks the call. ENOTTY is what an ioctl
// answers.
func notKnown(err error) bool {
	return err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.ENOTTY
}
