// Package durable keeps small files that must survive a power cut and that
// nobody but their owner may touch: keys, the journal of a rotation, the
// configuration that says where a key is.
//
// The system calls of Replace, in order, and what is on the drive if the power
// is cut after each:
//
//	openat(.name.new, O_CREAT|O_EXCL, 0600)   old
//	write, fsync(.name.new)                   old
//	linkat(name, .name.old)                   old (skipped if there is none)
//	renameat(.name.new, name)                 old or new
//	fsync(folder)                             new, from here on
//	pwrite zeros, fsync(.name.old)            new
//	unlinkat(.name.old), fsync(folder)        new
//
// Whatever such a cut leaves behind under the two dotted names is overwritten
// and removed by the next Open. Overwriting reaches the same blocks on ext4
// and FAT; flash translation layers and copy-on-write file systems may keep
// the old ones, which is why a key that has gone is also refused by every
// drive.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// ErrInUse: another program, or this one, has the folder open.
var ErrInUse = errors.New("it is in use by another program, such as a running sealbayd")

// ErrTooLarge: a file is larger than its reader takes.
var ErrTooLarge = errors.New("file too large")

// Folder is an open folder whose path, owner and mode were checked by Open. It
// keeps the folder itself, not its name: what is swapped in at that path later
// is never used.
type Folder struct {
	path string
	uid  uint32
	fs   FS
	mu   sync.Mutex // one Replace, Remove or tidying at a time
}

// Open opens the folder at path, which must be owned by the user who runs this
// program, with mode 0700, reached without a symbolic link through folders
// that others cannot write to. The error is a *LooseError where one of that
// does not hold, and wraps ErrInUse where the folder is open already: remains
// of a Replace that was cut are wiped, and another program's Replace must not
// be taken for one.
func Open(path string) (*Folder, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening folder %s: %w", path, err)
	}
	uid := uint32(os.Geteuid())
	root, err := walk(abs, uid)
	if err != nil {
		return nil, err
	}
	dir, err := lock(root)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening folder %s: %w", abs, err), root.Close())
	}
	fsys := osFS{root, dir}
	f, err := OpenFS(abs, uid, fsys)
	if err != nil {
		return nil, errors.Join(err, fsys.Close())
	}
	return f, nil
}

// lock takes the folder for whoever opened it now, until the answer is closed,
// also by the end of the process (flock(2)).
func lock(root *os.Root) (*os.File, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// Make is Open, and makes the folder (the last element of path only) if it is
// not there.
func Make(path string) (*Folder, error) {
	err := os.Mkdir(path, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err == nil {
		if err := syncDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	return Open(path)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// OpenFS is Open on a folder that the caller has opened and checked: tests
// give one whose power fails.
func OpenFS(path string, uid uint32, fsys FS) (*Folder, error) {
	f := &Folder{path: path, uid: uid, fs: fsys}
	if err := f.tidy(); err != nil {
		return nil, fmt.Errorf("clearing the remains of an interrupted write in %s: %w", path, err)
	}
	return f, nil
}

// Path returns the folder's path, joined with name.
func (f *Folder) Path(name string) string { return filepath.Join(f.path, name) }

// Close gives the folder back.
func (f *Folder) Close() error { return f.fs.Close() }

// Read reads the file into buf and returns how many bytes it has. The error
// wraps fs.ErrNotExist or ErrTooLarge, or is a *LooseError. Nothing is
// buffered on the way: a key goes from the kernel to buf.
func (f *Folder) Read(name string, buf []byte) (int, error) {
	file, err := f.open(name, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(file, buf)
	if err == nil { // full: is there more?
		var one [1]byte
		if m, _ := file.Read(one[:]); m > 0 {
			err = ErrTooLarge
		}
	} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return n, fmt.Errorf("reading %s: %w", f.Path(name), err)
	}
	return n, nil
}

// open opens an existing file and checks that it is ours alone.
func (f *Folder) open(name string, flag int) (File, error) {
	before, err := f.fs.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", f.Path(name), err)
	}
	if err := checkFile(f.Path(name), before, f.uid); err != nil {
		return nil, err
	}
	file, err := f.fs.OpenFile(name, flag)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", f.Path(name), err)
	}
	after, err := file.Stat()
	if err == nil && !before.same(after) {
		err = errors.New("it was replaced while being opened")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", f.Path(name), err), file.Close())
	}
	return file, nil
}

// Replace makes data the content of the file, which it creates with mode 0600
// if need be: when it returns nil the data is on stable storage and the former
// content is overwritten; after an error or a cut the file has either.
func (f *Folder) Replace(name string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.replace(name, data); err != nil {
		return fmt.Errorf("writing %s: %w", f.Path(name), err)
	}
	return nil
}

func (f *Folder) replace(name string, data []byte) error {
	if err := f.tidyName(name); err != nil { // of an earlier Replace that failed
		return err
	}
	if err := f.put(name, data); err != nil {
		return errors.Join(err, f.tidyName(name))
	}
	return ignore(f.shred(oldName(name)), fs.ErrNotExist)
}

func (f *Folder) put(name string, data []byte) error {
	if err := f.create(newName(name), data); err != nil {
		return err
	}
	if err := ignore(f.fs.Link(name, oldName(name)), fs.ErrNotExist); err != nil {
		return err
	}
	if err := f.fs.Rename(newName(name), name); err != nil {
		return err
	}
	return f.fs.Sync()
}

func (f *Folder) create(name string, data []byte) error {
	file, err := f.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// Remove removes the file durably and overwrites what it held: after an error
// or a cut it is there as before, or gone. A file that is not there is no
// error.
func (f *Folder) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.remove(name); err != nil {
		return fmt.Errorf("removing %s: %w", f.Path(name), err)
	}
	return nil
}

// remove renames first: overwritten under its own name, the file would be
// neither there nor gone.
func (f *Folder) remove(name string) error {
	if err := f.tidyName(name); err != nil {
		return err
	}
	if err := f.fs.Rename(name, oldName(name)); err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	if err := f.fs.Sync(); err != nil {
		return err
	}
	return ignore(f.shred(oldName(name)), fs.ErrNotExist)
}

// shred overwrites and removes a file. One that still has a second name is
// only removed: its content is in use under the other.
func (f *Folder) shred(name string) error {
	st, err := f.fs.Lstat(name)
	if err != nil {
		return err
	}
	if st.Mode.IsRegular() && st.Links == 1 {
		if err := f.zero(name, st); err != nil {
			return err
		}
	}
	if err := f.fs.Remove(name); err != nil {
		return err
	}
	return f.fs.Sync()
}

func (f *Folder) zero(name string, st Stat) error {
	file, err := f.fs.OpenFile(name, os.O_WRONLY)
	if err != nil {
		return err
	}
	now, err := file.Stat()
	if err == nil && !now.same(st) {
		err = errors.New("it was replaced while being opened")
	}
	if err == nil {
		_, err = file.Write(make([]byte, st.Size))
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func newName(name string) string { return "." + name + ".new" }
func oldName(name string) string { return "." + name + ".old" }

// tidy wipes what a cut Replace of any file left behind.
func (f *Folder) tidy() error {
	names, err := f.fs.Names()
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		return !strings.HasPrefix(n, ".") || !strings.HasSuffix(n, ".new") && !strings.HasSuffix(n, ".old")
	})
	return f.shredAll(names)
}

func (f *Folder) tidyName(name string) error {
	return f.shredAll([]string{newName(name), oldName(name)})
}

// shredAll shreds those of names that exist. The folder goes to the drive
// first: a renameat that is not there yet would come undone in a power cut,
// and what is about to be overwritten would be the only content left.
func (f *Folder) shredAll(names []string) error {
	synced := false
	for _, name := range names {
		if _, err := f.fs.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !synced {
			if err := f.fs.Sync(); err != nil {
				return err
			}
			synced = true
		}
		if err := f.shred(name); err != nil {
			return err
		}
	}
	return nil
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
