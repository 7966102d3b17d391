// Package durabletest is a folder in memory whose power can be cut after any
// system call, and which then shows every content that a drive may hold.
//
// The model: what was written to a file is on the drive only after Sync of the
// file, names only after Sync of the folder. After a cut, any number of the
// names changed last may be lost, in the order in which they were changed; and
// of the files not synced, content may be lost, kept or torn in the middle.
// Journalling file systems promise more; nothing here relies on it.
package durabletest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"sealbay/keyring/durable"
)

// ErrCut is what every system call gets once the power is off.
var ErrCut = errors.New("power cut")

// Disk is a durable.FS in memory.
type Disk struct {
	mu      sync.Mutex // guards all below
	uid     uint32
	names   map[string]*inode
	stable  map[string]*inode   // names on the drive
	changes []map[string]*inode // names after each change since the last Sync, oldest first
	nextIno uint64
	calls   int
	cutAt   int // calls that succeed; -1 without limit
	hook    func(call int) error
}

type inode struct {
	ino    uint64
	data   []byte
	stable []byte // content on the drive
	mode   fs.FileMode
}

// NewDisk returns an empty folder whose files belong to uid.
func NewDisk(uid uint32) *Disk {
	return &Disk{uid: uid, names: map[string]*inode{}, stable: map[string]*inode{}, cutAt: -1}
}

// Open opens the folder through package durable, under the path "/perm".
func (d *Disk) Open() (*durable.Folder, error) { return durable.OpenFS("/perm", d.uid, d) }

// CutAfter lets n more changing system calls succeed and fails all after.
func (d *Disk) CutAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = d.calls + n
}

// OnChange has fn called before every changing system call: an error from it
// takes the place of the call. A test that counts the durable steps of several
// disks and drives together counts here.
func (d *Disk) OnChange(fn func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = func(int) error { return fn() }
}

// Calls returns how many changing system calls there were.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Put stores a file as if it had always been there.
func (d *Disk) Put(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.newInode()
	n.data, n.stable = bytes.Clone(data), bytes.Clone(data)
	d.names[name] = n
	d.stable = maps.Clone(d.names)
}

// Contents returns every file as a program sees it now.
func (d *Disk) Contents() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string][]byte{}
	for name, n := range d.names {
		all[name] = bytes.Clone(n.data)
	}
	return all
}

// Outcomes returns a disk for each content that the drive may hold if the
// power is cut now.
func (d *Disk) Outcomes() []*Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*Disk
	for _, names := range append([]map[string]*inode{d.stable}, d.changes...) {
		for _, content := range []func(*inode) []byte{lost, kept, torn} {
			all = append(all, d.after(names, content))
		}
	}
	return all
}

func lost(n *inode) []byte { return n.stable }
func kept(n *inode) []byte { return n.data }
func torn(n *inode) []byte { // the first half of what was written arrived
	if bytes.Equal(n.data, n.stable) {
		return n.stable
	}
	half := len(n.data) / 2
	return append(slices.Clone(n.data[:half]), n.stable[min(half, len(n.stable)):]...)
}

func (d *Disk) after(names map[string]*inode, content func(*inode) []byte) *Disk {
	c := NewDisk(d.uid)
	c.nextIno = d.nextIno
	moved := map[*inode]*inode{}
	for name, n := range names {
		if moved[n] == nil {
			data := content(n)
			moved[n] = &inode{ino: n.ino, mode: n.mode, data: bytes.Clone(data), stable: bytes.Clone(data)}
		}
		c.names[name] = moved[n]
	}
	c.stable = maps.Clone(c.names)
	return c
}

func (d *Disk) newInode() *inode {
	d.nextIno++
	return &inode{ino: d.nextIno, mode: 0o600}
}

// change counts a changing system call. d.mu is held.
func (d *Disk) change() error {
	if d.cutAt >= 0 && d.calls >= d.cutAt {
		return ErrCut
	}
	if d.hook != nil {
		if err := d.hook(d.calls); err != nil {
			return err
		}
	}
	d.calls++
	return nil
}

func (d *Disk) renamed() { d.changes = append(d.changes, maps.Clone(d.names)) }

func (d *Disk) find(name string) (*inode, error) {
	n := d.names[name]
	if n == nil {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return n, nil
}

// Names lists the files.
func (d *Disk) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names)), nil
}

// Lstat describes a file.
func (d *Disk) Lstat(name string) (durable.Stat, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil {
		return durable.Stat{}, err
	}
	return d.stat(n), nil
}

func (d *Disk) stat(n *inode) durable.Stat {
	links := uint64(0)
	for _, o := range d.names {
		if o == n {
			links++
		}
	}
	return durable.Stat{Mode: n.mode, UID: d.uid, Links: links, Size: int64(len(n.data)), Ino: n.ino}
}

// OpenFile opens or makes a file.
func (d *Disk) OpenFile(name string, flag int) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if flag&os.O_CREATE != 0 {
		if err == nil {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrExist)
		}
		if err := d.change(); err != nil {
			return nil, err
		}
		n = d.newInode()
		d.names[name] = n
		d.renamed()
	} else if err != nil {
		return nil, err
	}
	return &file{disk: d, node: n}, nil
}

// Link gives a file a second name.
func (d *Disk) Link(old, new string) error {
	return d.rename(old, new, false)
}

// Rename moves a file over another.
func (d *Disk) Rename(old, new string) error {
	return d.rename(old, new, true)
}

func (d *Disk) rename(old, new string, move bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(old)
	if err != nil {
		return err
	}
	if d.names[new] != nil && !move {
		return fmt.Errorf("%s: %w", new, fs.ErrExist)
	}
	if err := d.change(); err != nil {
		return err
	}
	d.names[new] = n
	if move {
		delete(d.names, old)
	}
	d.renamed()
	return nil
}

// Remove takes a name away.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(name); err != nil {
		return err
	}
	if err := d.change(); err != nil {
		return err
	}
	delete(d.names, name)
	d.renamed()
	return nil
}

// Sync puts the names on the drive.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.change(); err != nil {
		return err
	}
	d.stable, d.changes = maps.Clone(d.names), nil
	return nil
}

// Close does nothing.
func (d *Disk) Close() error { return nil }

type file struct {
	disk *Disk
	node *inode
	off  int
}

func (f *file) Read(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.off >= len(f.node.data) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[f.off:])
	f.off += n
	return n, nil
}

func (f *file) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.change(); err != nil {
		return 0, err
	}
	end := f.off + len(p)
	if grow := end - len(f.node.data); grow > 0 {
		f.node.data = append(f.node.data, make([]byte, grow)...)
	}
	copy(f.node.data[f.off:], p)
	f.off = end
	return len(p), nil
}

func (f *file) Stat() (durable.Stat, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.stat(f.node), nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.change(); err != nil {
		return err
	}
	f.node.stable = bytes.Clone(f.node.data)
	return nil
}

func (f *file) Close() error { return nil }
