package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FS is what a Folder asks of the operating system, each method one system
// call that a power cut may follow. Names are plain file names in the folder.
// Errors for a missing file wrap fs.ErrNotExist.
type FS interface {
	Names() ([]string, error)
	Lstat(name string) (Stat, error)
	OpenFile(name string, flag int) (File, error) // new files get mode 0600
	Link(old, new string) error
	Rename(old, new string) error
	Remove(name string) error
	Sync() error // of the folder
	Close() error
}

// File is an open file of an FS.
type File interface {
	io.Reader
	io.Writer
	Stat() (Stat, error)
	Sync() error
	Close() error
}

// Stat is what the checks look at, from stat(2).
type Stat struct {
	Mode     fs.FileMode
	UID      uint32
	Links    uint64
	Size     int64 // bytes
	Dev, Ino uint64
}

func (s Stat) same(o Stat) bool { return s.Dev == o.Dev && s.Ino == o.Ino }

func statOf(fi fs.FileInfo) Stat {
	st := fi.Sys().(*syscall.Stat_t) // always so on Linux
	return Stat{Mode: fi.Mode(), UID: st.Uid, Links: uint64(st.Nlink), Size: fi.Size(), Dev: uint64(st.Dev), Ino: st.Ino}
}

type osFS struct {
	root *os.Root
	lock *os.File
}

func (o osFS) Names() ([]string, error) {
	d, err := o.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close() // only read from
	return d.Readdirnames(-1)
}

func (o osFS) Lstat(name string) (Stat, error) {
	fi, err := o.root.Lstat(name)
	if err != nil {
		return Stat{}, err
	}
	return statOf(fi), nil
}

func (o osFS) OpenFile(name string, flag int) (File, error) {
	f, err := o.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (o osFS) Link(old, new string) error   { return o.root.Link(old, new) }
func (o osFS) Rename(old, new string) error { return o.root.Rename(old, new) }
func (o osFS) Remove(name string) error     { return o.root.Remove(name) }
func (o osFS) Close() error                 { return errors.Join(o.lock.Close(), o.root.Close()) }

func (o osFS) Sync() error {
	d, err := o.root.Open(".")
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

type osFile struct{ *os.File }

func (f osFile) Stat() (Stat, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return Stat{}, err
	}
	return statOf(fi), nil
}
