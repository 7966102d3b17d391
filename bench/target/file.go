package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// file is a target that is a regular file.
type file struct {
	name string // as the user knows it
	path string // to open it by
	f    *os.File
	made bool  // by us: it has no name any more, and is gone when closed
	was  int64 // its length in bytes before the bench came
}

// openFile opens the file at name, or makes one: an unnamed one in the current
// folder where name is "". A file that is made loses its name at once, so that
// even a killed bench leaves nothing behind.
func openFile(name string, o Options) (*file, error) {
	want := o.Size
	if want == 0 {
		want = o.Most
	}
	if name != "" {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err == nil {
			return adopt(name, f, want)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("target %s: %w", name, cause(err))
		}
		if strings.HasPrefix(name, "/dev/") {
			return nil, fmt.Errorf("target %s: no such device", name)
		}
	}
	return makeFile(name, want)
}

func makeFile(name string, want int64) (*file, error) {
	folder := filepath.Dir(name) // "." for ""
	f, err := os.CreateTemp(folder, ".sealbench-*")
	if err != nil {
		return nil, fmt.Errorf("target: making a file in %s: %w", folder, cause(err))
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if name == "" {
		name = "temporary file in " + absolute(folder)
	}
	t := &file{name: name, path: procPath(f), f: f, made: true}
	if err := t.allocate(want); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

// absolute returns the path from the root, or the path itself where the
// current folder is gone.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// adopt takes over a file that exists; an empty one is grown.
func adopt(name string, f *os.File, want int64) (*file, error) {
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("neither a block device nor a regular file")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("target %s: %w", name, cause(err)), f.Close())
	}
	t := &file{name: name, path: procPath(f), f: f, was: st.Size()}
	if n := st.Size(); n > 0 && n < MinSize {
		return nil, errors.Join(fmt.Errorf("target %s: has %d bytes, the bench needs %d or an empty file", name, n, int64(MinSize)), f.Close())
	} else if n > 0 {
		return t, nil
	}
	if err := t.allocate(want); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// procPath names an open file that may have lost its name (proc_pid_fd(5)).
func procPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// allocate gives the file its length and, where the file system can, its
// space, so that a full one is told now and not in the middle of a run.
func (t *file) allocate(size int64) error {
	err := syscall.Fallocate(int(t.f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		err = t.f.Truncate(size)
	}
	if err != nil {
		return fmt.Errorf("target %s: making room for %d MiB: %w", t.name, size>>20, cause(err))
	}
	return nil
}

// grown reports whether the file had no content before.
func (t *file) grown() bool { return t.made || t.was == 0 }

// close closes the file, which is as empty as before if it was.
func (t *file) close() error {
	var err error
	if !t.made && t.was == 0 {
		err = t.f.Truncate(0)
	}
	return errors.Join(err, t.f.Close())
}

func (t *file) identity() Identity {
	kind := "file"
	if t.made {
		kind = "temporary file"
	}
	return Identity{Path: t.name, Kind: kind, FileSystem: fileSystem(t.f.Name())}
}

// cause drops the "open PATH:" that os puts before an errno.
func cause(err error) error {
	if p := new(os.PathError); errors.As(err, &p) {
		return p.Err
	}
	return err
}
