package direct

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
)

const size = 16 << 20

func mustOpen(t testing.TB, path string, o Options) blockdev.Device {
	t.Helper()
	d, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// places are the kinds of target that a drive may be; each call makes one.
var places = map[string]func(testing.TB) string{
	"file":           func(t testing.TB) string { return blocktest.File(t, "", size) },
	"tmpfs":          func(t testing.TB) string { return blocktest.File(t, blocktest.Tmpfs(t), size) },
	"loop over file": func(t testing.TB) string { return blocktest.Loop(t, blocktest.File(t, "", size), 512) },
	"loop over tmpfs": func(t testing.TB) string {
		return blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), size), 4096)
	},
}

func TestSuite(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			path := place(t)
			blocktest.Suite(t, func(t *testing.T) blockdev.Device { return mustOpen(t, path, Options{}) })
			t.Run("ReadOnly", func(t *testing.T) {
				blocktest.Suite(t, func(t *testing.T) blockdev.Device { return mustOpen(t, path, Options{ReadOnly: true}) })
			})
		})
	}
}

func TestInfo(t *testing.T) {
	for name, want := range map[string]blockdev.Info{
		"loop over file":  {Engine: "direct", Size: size, Sector: 512, Discard: true},
		"loop over tmpfs": {Engine: "direct", Size: size, Sector: 4096, Physical: 4096, Discard: true},
		"tmpfs":           {Engine: "direct", Size: size, Discard: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := mustOpen(t, places[name](t), Options{})
			defer d.Close()
			got := d.Info()
			if got.Engine != want.Engine || got.Size != want.Size || got.Discard != want.Discard ||
				want.Sector != 0 && got.Sector != want.Sector || want.Physical != 0 && got.Physical != want.Physical {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// TestInfoAgainstBlockdev asks util-linux the same questions.
func TestInfoAgainstBlockdev(t *testing.T) {
	path := places["loop over file"](t)
	d := mustOpen(t, path, Options{ReadOnly: true})
	defer d.Close()
	got := d.Info()
	for flag, n := range map[string]int64{"--getsize64": got.Size, "--getss": int64(got.Sector), "--getpbsz": int64(got.Physical)} {
		out := blocktest.Command(t, "util-linux", "blockdev", flag, path)
		if want := strings.TrimSpace(out); want != itoa(n) {
			t.Errorf("blockdev %s says %s, Info %d", flag, want, n)
		}
	}
}

func TestFileSizeIsRoundedDown(t *testing.T) {
	path := blocktest.File(t, "", size+100)
	d := mustOpen(t, path, Options{})
	defer d.Close()
	if got := d.Info().Size; got != size {
		t.Errorf("size %d of a file of %d bytes, want %d", got, size+100, size)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	empty, fifo := filepath.Join(dir, "empty"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(empty, make([]byte, 100), 0o600), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{filepath.Join(dir, "nothing"), "no such file or directory"},
		{dir, "neither a block device nor a regular file"},
		{"/dev/null", "neither a block device nor a regular file"},
		{fifo, "neither a block device nor a regular file"},
		{empty, "holds no whole sector of "},
		{"/proc/version", "its file system has no direct I/O (O_DIRECT)"},
	} {
		_, err := Open(c.path, Options{ReadOnly: true})
		if want := "opening " + c.path + ": " + c.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestBusy(t *testing.T) {
	t.Run("twice", func(t *testing.T) {
		for name, want := range map[string]string{
			"file": "locked by another program", "loop over tmpfs": "opened exclusively by another program",
		} {
			path := places[name](t)
			d := mustOpen(t, path, Options{})
			refused(t, path, want)
			if err := mustOpen(t, path, Options{ReadOnly: true}).Close(); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if err := mustOpen(t, path, Options{}).Close(); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("mounted", func(t *testing.T) {
		path, at := places["loop over file"](t), t.TempDir()
		blocktest.Command(t, "e2fsprogs", "mkfs.ext4", "-q", path)
		blocktest.Command(t, "mount", "mount", path, at)
		defer blocktest.Command(t, "mount", "umount", at)
		refused(t, path, "mounted at "+at)
	})
	t.Run("partition mounted", func(t *testing.T) {
		path, at := blocktest.Loop(t, blocktest.File(t, "", size), 512, "--partscan"), t.TempDir()
		blocktest.Command(t, "util-linux", "addpart", path, "1", "2048", "20480")
		defer blocktest.Command(t, "util-linux", "delpart", path, "1")
		part := node(t, filepath.Base(path)+"p1")
		blocktest.Command(t, "e2fsprogs", "mkfs.ext4", "-q", part)
		blocktest.Command(t, "mount", "mount", part, at)
		defer blocktest.Command(t, "mount", "umount", at)
		refused(t, path, "mounted at "+at)
	})
}

// node makes the device node of name, without waiting for udev, which may not
// run here.
func node(t *testing.T, name string) string {
	t.Helper()
	dev, err := os.ReadFile("/sys/class/block/" + name + "/dev")
	if err != nil {
		t.Fatal(err)
	}
	major, minor, _ := strings.Cut(strings.TrimSpace(string(dev)), ":")
	path := filepath.Join(t.TempDir(), name)
	blocktest.Command(t, "coreutils", "mknod", path, "b", major, minor)
	return path
}

func refused(t *testing.T, path, want string) {
	t.Helper()
	_, err := Open(path, Options{})
	want = "opening " + path + ": device is in use: " + want
	if !errors.Is(err, blockdev.ErrBusy) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestReadOnlyBlockDevice(t *testing.T) {
	path := blocktest.Loop(t, blocktest.File(t, "", size), 512, "--read-only")
	if _, err := Open(path, Options{}); !errors.Is(err, blockdev.ErrReadOnly) && !errors.Is(err, unix.EACCES) {
		t.Errorf("a read-only device opened for writing: %v", err)
	}
	if err := mustOpen(t, path, Options{ReadOnly: true}).Close(); err != nil {
		t.Error(err)
	}
}

// A file that shrinks under us ends a read short, one that may not grow fails
// a write: both must come back named, and leave their neighbours alone.
func TestFaultsOfRealTargets(t *testing.T) {
	for _, depth := range []int{1, 4} {
		path := blocktest.File(t, "", size)
		d := mustOpen(t, path, Options{})
		defer d.Close()
		if err := os.Truncate(path, 1<<20); err != nil {
			t.Fatal(err)
		}
		good, short, none := read(1<<20-4096, 4096), read(1<<20-4096, 8192), read(2<<20, 4096)
		do(t, d, depth, good, short, none)
		if good.Err != nil {
			t.Errorf("neighbour failed: %v", good.Err)
		}
		wantErr(t, short.Err, blockdev.ErrShort, "read "+path+" at 1044480+8192: short transfer")
		wantErr(t, none.Err, blockdev.ErrShort, "read "+path+" at 2097152+4096: short transfer")
	}
}

func TestLoopOverShrunkFileAnswersEIO(t *testing.T) {
	file := blocktest.File(t, "", size)
	path := blocktest.Loop(t, file, 512)
	d := mustOpen(t, path, Options{})
	defer d.Close()
	if err := os.Truncate(file, 1<<20); err != nil {
		t.Fatal(err)
	}
	good, bad := read(0, 4096), read(8<<20, 4096)
	do(t, d, 2, good, bad)
	if good.Err != nil {
		t.Errorf("neighbour failed: %v", good.Err)
	}
	wantErr(t, bad.Err, unix.EIO, "read "+path+" at 8388608+4096: input/output error")
}

func wantErr(t *testing.T, err, is error, text string) {
	t.Helper()
	if !errors.Is(err, is) || err.Error() != text {
		t.Errorf("got %v, want %s", err, text)
	}
}

func read(off int64, n int) *blockdev.Request {
	b := make([]byte, n+4096)
	for !blockdev.Aligned(b, 4096) {
		b = b[1:]
	}
	return &blockdev.Request{Op: blockdev.Read, Offset: off, Buf: b[:n]}
}

func do(t *testing.T, d blockdev.Device, depth int, reqs ...*blockdev.Request) {
	t.Helper()
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: depth})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for sent, done := 0, make([]*blockdev.Request, depth); sent < len(reqs); {
		n, err := q.Submit(reqs[sent:])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := q.Reap(done, n); got != n || err != nil {
			t.Fatalf("reaped %d of %d: %v", got, n, err)
		}
		sent += n
	}
}

// What was discarded must really go: the file gets its blocks back.
func TestDiscardReachesTheFile(t *testing.T) {
	file := blocktest.File(t, "", size)
	path := blocktest.Loop(t, file, 512)
	d := mustOpen(t, path, Options{})
	defer d.Close()
	before := blocks(t, file)
	r := &blockdev.Request{Op: blockdev.Discard, Length: size / 2}
	do(t, d, 1, r)
	if after := blocks(t, file); r.Err != nil || after > before*3/4 {
		t.Errorf("discard: %v; %d blocks before, %d after", r.Err, before, after)
	}
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks
}

// O_DIRECT means that the bytes are on the drive, not in a cache above it.
func TestWritesArriveBelow(t *testing.T) {
	file := blocktest.File(t, "", size)
	d := mustOpen(t, blocktest.Loop(t, file, 512), Options{})
	defer d.Close()
	r := read(4096, 4096)
	r.Op = blockdev.Write
	copy(r.Buf, bytes.Repeat([]byte("sealbay "), 512))
	do(t, d, 1, r, &blockdev.Request{Op: blockdev.Flush})
	got, err := os.ReadFile(file)
	if err != nil || r.Err != nil || !bytes.Equal(got[4096:8192], r.Buf) {
		t.Errorf("the file under the loop device lacks what was written: %v, %v", err, r.Err)
	}
}
