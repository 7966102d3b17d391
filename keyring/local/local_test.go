package local_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sealbay/keyring"
	"sealbay/keyring/durable"
	"sealbay/keyring/durable/durabletest"
	"sealbay/keyring/keyringtest"
	"sealbay/keyring/local"
)

func folder(t *testing.T) *durable.Folder {
	t.Helper()
	f, err := durable.Make(filepath.Join(t.TempDir(), "perm"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func create(t *testing.T) (*local.Store, *durable.Folder) {
	t.Helper()
	f := folder(t)
	s := local.New(f)
	if err := s.Create(); err != nil {
		t.Fatal(err)
	}
	return s, f
}

func TestSuite(t *testing.T) {
	keyringtest.Suite(t, func(t *testing.T) keyringtest.Subject {
		s, f := create(t)
		return keyringtest.Subject{
			Store:  s,
			Next:   func(*testing.T) keyring.NewKey { return keyring.NewKey{} },
			Reopen: func(*testing.T) keyring.Store { return local.New(f) },
		}
	})
}

func TestNoKeyYet(t *testing.T) {
	s := local.New(folder(t))
	if _, _, err := s.Fetch(t.Context()); !errors.Is(err, keyring.ErrNoKey) {
		t.Errorf("Fetch: %v", err)
	}
	if h := s.Health(); h.Status != keyring.NotEncrypted {
		t.Errorf("health %+v", h)
	}
	if err := errors.Join(s.Create(), s.Create()); !errors.Is(err, local.ErrExists) {
		t.Errorf("a second Create: %v", err)
	}
}

func TestDiscardWipesTheFile(t *testing.T) {
	s, _ := create(t)
	key, info, err := s.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A second name for the inode, to see what becomes of it.
	watch, err := os.Open(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	if err := s.Discard(t.Context(), info.Ref); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file without a key is still there: %v", err)
	}
	left := make([]byte, 4096)
	n, _ := watch.Read(left)
	if err := key.Use(func(k []byte) error {
		if bytes.Contains(left[:n], k) {
			return errors.New("the removed file still holds the key")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// The file as a rotation left it no longer holds the old key under any name.
func TestReplacedFileIsOverwritten(t *testing.T) {
	s, _ := create(t)
	old, info, err := s.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	watch, err := os.Open(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	_, next, err := s.Prepare(t.Context(), keyring.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Commit(t.Context(), next.Ref), s.Discard(t.Context(), info.Ref)); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	before := make([]byte, 4096)
	n, _ := watch.Read(before)
	if err := old.Use(func(k []byte) error {
		if bytes.Contains(now, k) || bytes.Contains(before[:n], k) {
			return errors.New("the old key can still be read")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(s.Path()))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

// What is so already is not written again.
func TestRepeatedOperationsDoNotWrite(t *testing.T) {
	disk, refs := prepared(t, true)
	f, err := disk.Open()
	if err != nil {
		t.Fatal(err)
	}
	s, ctx := local.New(f), t.Context()
	for _, op := range []func() error{
		func() error { return s.Commit(ctx, refs[1]) },
		func() error { return s.Abort(ctx) },
		func() error { return s.Retain(ctx, refs[0]) },
		func() error { return s.Discard(ctx, refs[0]) },
	} {
		first := op()
		calls := disk.Calls()
		if again := op(); errors.Join(first, again) != nil && !errors.Is(again, keyring.ErrNoKey) || disk.Calls() != calls {
			t.Errorf("%v, again %v with %d writes", first, again, disk.Calls()-calls)
		}
	}
}

func TestRetainedKeysOfManyRotations(t *testing.T) {
	s, _ := create(t)
	var all []keyring.Ref
	for range 3 {
		_, info, err := s.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Ref)
		_, next, err := s.Prepare(t.Context(), keyring.NewKey{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), next.Ref); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Discard(t.Context(), all[1]); err != nil {
		t.Fatal(err)
	}
	for i, ref := range all {
		if _, info, err := s.Lookup(t.Context(), ref); (err == nil) != (i != 1) || err == nil && info.Ref != ref {
			t.Errorf("key %d after giving up key 1: %v, %v", i, info.Ref, err)
		}
	}
}

func seal(b []byte) []byte { // with a right checksum
	sum := sha256.Sum256(b[:len(b)-32])
	copy(b[len(b)-32:], sum[:])
	return b
}

// Each way in which a file can be bad has an error of its own, and none of
// them changes the file.
func TestDamagedFile(t *testing.T) {
	s, f := create(t)
	good, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	change := func(off int, with ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[off:], with)
		return b
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":                 {nil, local.ErrTruncated},
		"part of the magic":     {good[:5], local.ErrTruncated},
		"head only":             {good[:16], local.ErrTruncated},
		"one byte short":        {good[:len(good)-1], local.ErrTruncated},
		"one byte more":         {append(bytes.Clone(good), 0), local.ErrChecksum},
		"other file":            {[]byte("-----BEGIN CERTIFICATE-----\nMIIB"), local.ErrNotKeyFile},
		"raw key":               {bytes.Repeat([]byte{0x5a}, 32), local.ErrNotKeyFile},
		"second half unwritten": {append(bytes.Clone(good[:len(good)/2]), make([]byte, len(good)-len(good)/2)...), local.ErrHalf},
		"flipped key bit":       {change(40, good[40]^1), local.ErrChecksum},
		"flipped checksum bit":  {change(len(good)-1, good[len(good)-1]^1), local.ErrChecksum},
		"flipped length bit":    {change(12, 0x80), local.ErrChecksum},
		"version 2":             {seal(change(8, 0, 2)), local.ErrVersion},
		"no key":                {seal(append(binary.BigEndian.AppendUint32([]byte("SEALBKEY\x00\x01\x00\x00"), 48), make([]byte, 32)...)), local.ErrNotKeyFile},
		"unknown role":          {seal(change(16, 9)), local.ErrNotKeyFile},
		"too large":             {make([]byte, 1<<20), durable.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(s.Path(), c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			again := local.New(f)
			_, _, err := again.Fetch(t.Context())
			if !errors.Is(err, c.want) || !errors.Is(err, keyring.ErrCorrupt) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if !strings.Contains(err.Error(), s.Path()) || strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line that names the file: %q", err)
			}
			if h := again.Health(); h.Status != keyring.Corrupted || h.Detail != err.Error() {
				t.Errorf("health %+v", h)
			}
			_, _, perr := again.Prepare(t.Context(), keyring.NewKey{})
			if err := again.Create(); err == nil || perr == nil {
				t.Error("a damaged file was written over")
			}
			if now, _ := os.ReadFile(s.Path()); !bytes.Equal(now, c.data) {
				t.Error("the file changed")
			}
		})
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	s, f := create(t)
	good, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(good) {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(s.Path(), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := local.New(f).Fetch(t.Context()); !errors.Is(err, keyring.ErrCorrupt) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
}

func TestLooseFile(t *testing.T) {
	for name, c := range map[string]struct {
		loosen func(path string) error
		want   []string
	}{
		"mode":    {func(p string) error { return os.Chmod(p, 0o640) }, []string{"mode 0640", "mode 0600", "chmod 0600 "}},
		"owner":   {func(p string) error { return os.Chown(p, 12345, -1) }, []string{"owner uid 12345", "owner root", "chown 0 "}},
		"link":    {func(p string) error { return os.Link(p, p+".copy") }, []string{"2 links", "one link", "find / -xdev -samefile"}},
		"symlink": {moveAndLink, []string{"a symbolic link", "readlink -f"}},
		"folder":  {func(p string) error { return os.Remove(p) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			requireRoot(t)
			s, f := create(t)
			if err := c.loosen(s.Path()); err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				if err := os.Mkdir(s.Path(), 0o700); err != nil {
					t.Fatal(err)
				}
				c.want = []string{"not a regular file"}
			}
			again := local.New(f)
			_, _, err := again.Fetch(t.Context())
			var loose *durable.LooseError
			if !errors.As(err, &loose) || !errors.Is(err, keyring.ErrCorrupt) {
				t.Fatalf("got %v", err)
			}
			for _, part := range append(c.want, s.Path()) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if again.Health().Status != keyring.Corrupted {
				t.Errorf("health %+v", again.Health())
			}
		})
	}
}

func moveAndLink(p string) error {
	return errors.Join(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
}

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run the tests as root")
	}
}

// The power is cut after every system call of every operation on the store;
// whatever then is on the drive, the store opens with the key from before or
// the one from after, and the operation can be repeated.
func TestPowerCut(t *testing.T) {
	for name, op := range map[string]func(*testing.T, *local.Store, []keyring.Ref) error{
		"Prepare": func(t *testing.T, s *local.Store, _ []keyring.Ref) error {
			_, _, err := s.Prepare(t.Context(), keyring.NewKey{})
			return err
		},
		"Commit": func(t *testing.T, s *local.Store, refs []keyring.Ref) error { return s.Commit(t.Context(), refs[1]) },
		"Abort":  func(t *testing.T, s *local.Store, _ []keyring.Ref) error { return s.Abort(t.Context()) },
		"Discard the last": func(t *testing.T, s *local.Store, refs []keyring.Ref) error {
			return errors.Join(s.Abort(t.Context()), s.Discard(t.Context(), refs[0]))
		},
		"Discard": func(t *testing.T, s *local.Store, refs []keyring.Ref) error {
			return errors.Join(s.Commit(t.Context(), refs[1]), s.Discard(t.Context(), refs[0]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for cut := 0; ; cut++ {
				disk, refs := prepared(t, name != "Prepare")
				f, err := disk.Open()
				if err != nil {
					t.Fatal(err)
				}
				disk.CutAfter(cut)
				err = op(t, local.New(f), refs)
				for i, after := range disk.Outcomes() {
					checkAfterCut(t, fmt.Sprintf("cut %d outcome %d", cut, i), after, refs, err == nil && name == "Discard", name == "Discard the last")
				}
				if err == nil {
					if cut < 5 {
						t.Errorf("only %d cuts: the power was not cut", cut)
					}
					return
				}
			}
		})
	}
}

// prepared returns a disk with a current key and, if asked, a prepared one.
func prepared(t *testing.T, next bool) (*durabletest.Disk, []keyring.Ref) {
	t.Helper()
	disk := durabletest.NewDisk(0)
	f, err := disk.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := local.New(f)
	if err := s.Create(); err != nil {
		t.Fatal(err)
	}
	_, info, err := s.Fetch(t.Context())
	refs := []keyring.Ref{info.Ref}
	if err == nil && next {
		_, info, err = s.Prepare(t.Context(), keyring.NewKey{})
		refs = append(refs, info.Ref)
	}
	if err != nil {
		t.Fatal(err)
	}
	return disk, refs
}

func checkAfterCut(t *testing.T, what string, disk *durabletest.Disk, refs []keyring.Ref, done, mayBeGone bool) {
	t.Helper()
	f, err := disk.Open()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	s := local.New(f)
	_, info, err := s.Fetch(t.Context())
	if mayBeGone && errors.Is(err, keyring.ErrNoKey) {
		return
	}
	if err != nil || !slices.Contains(refs, info.Ref) {
		t.Fatalf("%s: %v, %v", what, info.Ref, err)
	}
	if names, _ := disk.Names(); !slices.Equal(names, []string{local.FileName}) {
		t.Errorf("%s: left behind %v", what, names)
	}
	if _, _, err := s.Lookup(t.Context(), refs[0]); err != nil && info.Ref == refs[0] || err == nil && done {
		t.Errorf("%s: old key: %v", what, err)
	}
}

func FuzzDecode(f *testing.F) {
	disk := durabletest.NewDisk(0)
	dir, err := disk.Open()
	if err != nil {
		f.Fatal(err)
	}
	s := local.New(dir)
	if err := s.Create(); err != nil {
		f.Fatal(err)
	}
	f.Add(disk.Contents()[local.FileName])
	f.Add([]byte("SEALBKEY\x00\x01\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 48 {
			seal(b)
		}
		disk := durabletest.NewDisk(0)
		disk.Put(local.FileName, b)
		dir, err := disk.Open()
		if err != nil {
			t.Fatal(err)
		}
		key, _, err := local.New(dir).Fetch(t.Context())
		if err == nil {
			key.Close()
		} else if !errors.Is(err, keyring.ErrCorrupt) && !errors.Is(err, keyring.ErrNoKey) {
			t.Errorf("%x: %v", b, err)
		}
	})
}
