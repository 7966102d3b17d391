// Package osdev opens files and block devices for direct I/O, asks the kernel
// what they are, and carries out one request at a time on them. The engines
// share it; what differs between them is how requests are queued.
package osdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// Node is an open file or block device.
type Node struct {
	Info  blockdev.Info
	Block bool // a block device, not a file
	FD    int
	file  *os.File
	zeros []byte // never written, so it takes no memory
	state atomic.Bool
}

// zeroChunk is how much of zeros one write puts where the file system has no
// call for it; bytes.
const zeroChunk = 1 << 20

// Open opens path for engine with O_DIRECT. For writing, a block device is
// taken with O_EXCL, which the kernel refuses while it is mounted or held,
// and a file with flock(2): either way blockdev.ErrBusy says that another
// has it. Info.Size is rounded down to whole sectors.
func Open(path, engine string, readOnly bool) (*Node, error) {
	n, err := open(path, engine, readOnly)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, reason(err))
	}
	return n, nil
}

// reason drops the "open PATH:" that os puts before an errno.
func reason(err error) error {
	if p := new(fs.PathError); errors.As(err, &p) {
		return p.Err
	}
	return err
}

func open(path, engine string, readOnly bool) (*Node, error) {
	block, err := kind(path) // first: opening a FIFO would hang
	if err != nil {
		return nil, err
	}
	f, err := take(path, block, readOnly)
	if err != nil {
		return nil, err
	}
	n := &Node{Block: block, FD: int(f.Fd()), file: f}
	n.Info = blockdev.Info{Path: path, Engine: engine, ReadOnly: readOnly}
	if err := n.ask(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return n, nil
}

func kind(path string) (block bool, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	switch mode := st.Mode(); {
	case mode.IsRegular():
		return false, nil
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		return true, nil
	}
	return false, errors.New("neither a block device nor a regular file")
}

// ask fills Info from what the kernel says of the open descriptor.
func (n *Node) ask() (err error) {
	if n.Block {
		err = n.askBlock()
	} else {
		err = n.askFile()
	}
	if err != nil {
		return err
	}
	n.Info.Size -= n.Info.Size % int64(n.Info.Sector)
	if n.Info.Size <= 0 {
		return fmt.Errorf("holds no whole sector of %d bytes", n.Info.Sector)
	}
	n.zeros, err = unix.Mmap(-1, 0, zeroChunk, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	return err
}

// Zeros returns memory that reads as zeros, to write from.
func (n *Node) Zeros() []byte { return n.zeros }

// Closed reports whether Close was called.
func (n *Node) Closed() bool { return n.state.Load() }

// Close gives the node back; a second time does nothing. It does not flush.
func (n *Node) Close() error {
	if n.state.Swap(true) {
		return nil
	}
	return errors.Join(unix.Munmap(n.zeros), n.file.Close())
}
