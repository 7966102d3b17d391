package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sealbay/keyring/durable"
	"sealbay/keyring/durable/durabletest"
)

func make1(t *testing.T) (*durable.Folder, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "perm")
	f, err := durable.Make(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, path
}

func read(t *testing.T, f *durable.Folder, name string) string {
	t.Helper()
	buf := make([]byte, 64)
	n, err := f.Read(name, buf)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestReplaceReadRemove(t *testing.T) {
	f, path := make1(t)
	for _, content := range []string{"one", "the second", ""} {
		if err := f.Replace("a", []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, f, "a"); got != content {
			t.Errorf("read %q, want %q", got, content)
		}
	}
	if fi, err := os.Stat(filepath.Join(path, "a")); err != nil || fi.Mode() != 0o600 {
		t.Errorf("mode %v, %v", fi, err)
	}
	if err := errors.Join(f.Remove("a"), f.Remove("a")); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(path); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestReadTooLarge(t *testing.T) {
	f, _ := make1(t)
	if err := f.Replace("a", make([]byte, 65)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read("a", make([]byte, 64)); !errors.Is(err, durable.ErrTooLarge) {
		t.Errorf("65 bytes into 64: %v", err)
	}
	if n, err := f.Read("a", make([]byte, 65)); n != 65 || err != nil {
		t.Errorf("65 bytes into 65: %d, %v", n, err)
	}
}

func TestLooseFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run the tests as root")
	}
	for name, c := range map[string]struct {
		loosen func(parent, path string) error
		want   []string
	}{
		"mode 0750":         {func(_, p string) error { return os.Chmod(p, 0o750) }, []string{"perm: mode 0750, want mode 0700; mend it with: chmod 0700 "}},
		"foreign owner":     {func(_, p string) error { return os.Chown(p, 4242, -1) }, []string{"perm: owner uid 4242, want owner root", "chown 0 "}},
		"symlink":           {func(_, p string) error { return relink(p) }, []string{"perm: a symbolic link", "readlink -f "}},
		"symlink on way":    {func(d, _ string) error { return relink(d) }, []string{"way: a symbolic link"}},
		"writable on way":   {func(d, _ string) error { return os.Chmod(d, 0o777) }, []string{"way: mode 0777", "chmod go-w "}},
		"foreign way":       {func(d, _ string) error { return os.Chown(d, 4242, -1) }, []string{"way: owner uid 4242"}},
		"a file instead":    {func(_, p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, nil, 0o600)) }, []string{"perm: not a folder"}},
		"not there":         {func(_, p string) error { return os.Remove(p) }, []string{"perm: no such file or directory"}},
		"sticky is allowed": {func(d, _ string) error { return os.Chmod(d, 0o777|fs.ModeSticky) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			parent := filepath.Join(t.TempDir(), "way")
			path := filepath.Join(parent, "perm")
			if err := errors.Join(os.Mkdir(parent, 0o755), os.Mkdir(path, 0o700), c.loosen(parent, path)); err != nil {
				t.Fatal(err)
			}
			f, err := durable.Open(path)
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
				return
			}
			if err == nil {
				t.Fatal("it was opened")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// A folder that another program is writing to is not tidied under its hands.
func TestOneAtATime(t *testing.T) {
	f, dir := make1(t)
	writing := filepath.Join(dir, ".master.key.new")
	if err := os.WriteFile(writing, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.Open(dir); !errors.Is(err, durable.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("opened twice: %v", err)
	}
	if b, err := os.ReadFile(writing); err != nil || string(b) != "half" {
		t.Errorf("what is being written is now %q, %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := durable.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(writing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the remains are still there: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// The command that mends is tried: it is for the shell.
func TestMendingCommand(t *testing.T) {
	f, dir := make1(t)
	for _, name := range []string{"plain", "it's a name", "$(false)"} {
		path := filepath.Join(dir, name)
		for _, loosen := range []func() error{
			func() error { return os.Chmod(path, 0o644) },
			func() error { return os.Chown(path, 4242, -1) },
			func() error { return relink(path) },
		} {
			if err := errors.Join(os.RemoveAll(path), os.RemoveAll(path+".real"), os.WriteFile(path, []byte("x"), 0o600), loosen()); err != nil {
				t.Fatal(err)
			}
			_, err := f.Read(name, make([]byte, 9))
			var loose *durable.LooseError
			if !errors.As(err, &loose) {
				t.Fatalf("%s: %v", name, err)
			}
			if out, err := exec.Command("sh", "-c", loose.Mend).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", loose.Mend, err, out)
			}
			if n, err := f.Read(name, make([]byte, 9)); n != 1 || err != nil {
				t.Errorf("after %s: %v", loose.Mend, err)
			}
		}
	}
}

func relink(p string) error { return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p)) }

// A FIFO or device under a file's name must not hang or be read.
func TestReadRefusesASymlinkToAnotherFile(t *testing.T) {
	f, path := make1(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(path, "a")); err != nil {
		t.Fatal(err)
	}
	var loose *durable.LooseError
	if _, err := f.Read("a", make([]byte, 9999)); !errors.As(err, &loose) {
		t.Errorf("%v", err)
	}
}

// Power cut after every system call of Replace and Remove, on a file that is
// there and on one that is not: the drive then holds the old or the new
// content, and after Replace has returned the new.
func TestPowerCut(t *testing.T) {
	for name, c := range map[string]struct {
		before string
		op     func(*durable.Folder) error
		after  string
		min    int // system calls
	}{
		"replace": {"old", func(f *durable.Folder) error { return f.Replace("a", []byte("renewed")) }, "renewed", 9},
		"create":  {"(none)", func(f *durable.Folder) error { return f.Replace("a", []byte("renewed")) }, "renewed", 5},
		"remove":  {"old", func(f *durable.Folder) error { return f.Remove("a") }, "(none)", 6},
	} {
		t.Run(name, func(t *testing.T) {
			for cut := 0; ; cut++ {
				disk := durabletest.NewDisk(0)
				if c.before != "(none)" {
					disk.Put("a", []byte(c.before))
				}
				f, err := disk.Open()
				if err != nil {
					t.Fatal(err)
				}
				disk.CutAfter(cut)
				err = c.op(f)
				if err != nil && !errors.Is(err, durabletest.ErrCut) {
					t.Fatal(err)
				}
				allowed := []string{c.after}
				if err != nil {
					allowed = []string{c.before, c.after}
				}
				for i, out := range disk.Outcomes() {
					checkOutcome(t, fmt.Sprintf("cut %d outcome %d", cut, i), out, allowed)
				}
				if err == nil {
					if cut < c.min {
						t.Errorf("only %d cuts", cut)
					}
					return
				}
			}
		})
	}
}

func checkOutcome(t *testing.T, what string, disk *durabletest.Disk, allowed []string) {
	t.Helper()
	f, err := disk.Open()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got := read(t, f, "a"); !slices.Contains(allowed, got) {
		t.Errorf("%s: %q, want one of %q", what, got, allowed)
	}
	if names, _ := disk.Names(); len(names) > 1 || len(names) == 1 && names[0] != "a" {
		t.Errorf("%s: left behind %q", what, names)
	}
	// A cut at any call of that clearing up loses nothing either.
	if err := f.Replace("a", []byte("again")); err != nil || read(t, f, "a") != "again" {
		t.Errorf("%s: a new Replace: %v", what, err)
	}
}

// A cut while a cut is being cleared up.
func TestSecondPowerCut(t *testing.T) {
	for first := range 9 {
		for second := range 8 {
			disk := durabletest.NewDisk(0)
			disk.Put("a", []byte("old"))
			f, err := disk.Open()
			if err != nil {
				t.Fatal(err)
			}
			disk.CutAfter(first)
			if err := f.Replace("a", []byte("renewed")); !errors.Is(err, durabletest.ErrCut) {
				t.Fatalf("cut %d: %v", first, err)
			}
			for _, out := range disk.Outcomes() {
				out.CutAfter(second)
				if _, err := out.Open(); err != nil && !errors.Is(err, durabletest.ErrCut) {
					t.Fatal(err)
				}
				for i, last := range out.Outcomes() {
					checkOutcome(t, fmt.Sprintf("cuts %d, %d outcome %d", first, second, i), last, []string{"old", "renewed"})
				}
			}
		}
	}
}

// The program is killed, not the machine: the names of the moment count, and
// clearing up must not overwrite what only a later folder sync would free.
func TestKilledThenPowerCut(t *testing.T) {
	for killed := range 9 {
		for cut := range 8 {
			disk := durabletest.NewDisk(0)
			disk.Put("a", []byte("old"))
			f, err := disk.Open()
			if err != nil {
				t.Fatal(err)
			}
			disk.CutAfter(killed)
			if err := f.Replace("a", []byte("renewed")); !errors.Is(err, durabletest.ErrCut) {
				t.Fatalf("killed at %d: %v", killed, err)
			}
			disk.CutAfter(cut) // power is back on for the restarted program, then goes
			if _, err := disk.Open(); err != nil && !errors.Is(err, durabletest.ErrCut) {
				t.Fatal(err)
			}
			for i, last := range disk.Outcomes() {
				checkOutcome(t, fmt.Sprintf("killed %d, cut %d outcome %d", killed, cut, i), last, []string{"old", "renewed"})
			}
		}
	}
}

// An error, not a cut: the operation is over and the folder still works.
func TestErrorAtEveryCall(t *testing.T) {
	for bad := range 9 {
		disk := durabletest.NewDisk(0)
		disk.Put("a", []byte("old"))
		f, err := disk.Open()
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		disk.OnChange(func() error {
			calls++
			if calls == bad+1 {
				return fs.ErrPermission
			}
			return nil
		})
		if err := f.Replace("a", []byte("renewed")); !errors.Is(err, fs.ErrPermission) {
			t.Fatalf("call %d: %v", bad, err)
		}
		if got := read(t, f, "a"); got != "old" && got != "renewed" {
			t.Errorf("call %d: %q", bad, got)
		}
		if err := f.Replace("a", []byte("third")); err != nil || read(t, f, "a") != "third" {
			t.Errorf("call %d: then %v", bad, err)
		}
		if c := disk.Contents(); len(c) != 1 || !bytes.Equal(c["a"], []byte("third")) {
			t.Errorf("call %d: %q", bad, c)
		}
	}
}
