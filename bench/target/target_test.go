package target

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/blockcrypt/blocktest"
	"sealbay/keyring/durable"
	"sealbay/keyring/local"
)

const size = MinSize

// use writes all over both ways to the region, as a run does, and closes.
func use(t *testing.T, o Options) *Target {
	t.Helper()
	tg, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for dev, base := range map[blockdev.Device]int64{tg.Raw: DataOffset, tg.Volume: 0} {
		s, err := blockdev.NewSync(dev)
		if err != nil {
			t.Fatal(err)
		}
		noise := bytes.Repeat([]byte{0xee}, int(tg.Span))
		if _, err := s.WriteAt(noise, base); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tg.Close(); err != nil {
		t.Fatal(err)
	}
	return tg
}

func sum(t *testing.T, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTemporaryFile: nothing with a name is ever left behind, not even while
// it runs.
func TestTemporaryFile(t *testing.T) {
	t.Chdir(t.TempDir())
	tg, err := Open(Options{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := filepath.Glob("*"); len(names) != 0 {
		t.Errorf("in the folder: %v", names)
	}
	if tg.Identity.Kind != "temporary file" || tg.Span != size-DataOffset || tg.Raw.Info().Size != size {
		t.Errorf("%+v, span %d, %+v", tg.Identity, tg.Span, tg.Raw.Info())
	}
	if err := tg.Close(); err != nil {
		t.Fatal(err)
	}
	named := use(t, Options{Path: "new.img", Size: size})
	if _, err := os.Stat("new.img"); !errors.Is(err, os.ErrNotExist) || named.Identity.Path != "new.img" {
		t.Errorf("a file that the bench made: %v, %q", err, named.Identity.Path)
	}
}

// TestFileIsGivenBack: an empty or blank file is as it was.
func TestFileIsGivenBack(t *testing.T) {
	for _, was := range []int64{0, size, size + 8<<20} {
		path := write(t, filepath.Join(t.TempDir(), "f"), make([]byte, was))
		before := sum(t, path)
		tg := use(t, Options{Path: path, Size: size})
		if sum(t, path) != before || tg.Identity.Kind != "file" {
			t.Errorf("a blank file of %d bytes has changed; %+v", was, tg.Identity)
		}
	}
}

// TestNothingOutside: what lies behind --size is never touched.
func TestNothingOutside(t *testing.T) {
	blocktest.RequireRoot(t)
	data := bytes.Repeat([]byte("keep me "), (size+1<<20)/8)
	path := write(t, filepath.Join(t.TempDir(), "f"), data)
	loop := blocktest.Loop(t, path, 512)
	for _, o := range []Options{{Path: path, Size: size, Erases: path}, {Path: loop, Size: size, Erases: loop}} {
		use(t, o)
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(after) != len(data) || !bytes.Equal(after[size:], data[size:]) {
			t.Errorf("%s: bytes behind the used ones have changed", o.Path)
		}
		if len(bytes.Trim(after[:size], "\x00")) != 0 {
			t.Errorf("%s: the used bytes are not blank", o.Path)
		}
	}
}

func TestFilesRefused(t *testing.T) {
	dir := t.TempDir()
	text := write(t, filepath.Join(dir, "notes.txt"), bytes.Repeat([]byte("not blank\n"), size/10+410))
	short := write(t, filepath.Join(dir, "short"), make([]byte, 20<<20))
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Path: text}, "holds data that the bench would erase: unknown data at byte 0"},
		{Options{Path: text, Erases: "/dev/sda"}, `is not what was given up: "/dev/sda"`},
		{Options{Path: text, Erases: "notes.txt"}, "is not what was given up"},
		{Options{Path: short}, "has 20971520 bytes, the bench needs"},
		{Options{Path: text, Erases: text, Size: 64 << 20}, "bytes, not 67108864"},
		{Options{Path: text, Erases: text, Size: 20 << 20}, "20971520 bytes are too few, the bench needs"},
		{Options{Path: dir}, "is a directory"},
		{Options{Path: "/dev/nothing-here"}, "target /dev/nothing-here: no such device"},
		{Options{Path: "/dev/null"}, "neither a block device nor a regular file"},
		{Options{Path: filepath.Join(dir, "no", "folder")}, "no such file or directory"},
		{Options{Path: filepath.Join(dir, "new"), Size: 1 << 60}, "making room for"},
		{Options{Path: filepath.Join(dir, "new"), Size: size, Engine: "spdk"}, `no I/O engine "spdk"`},
		{Options{Path: filepath.Join(dir, "new"), Size: size, State: dir}, "chmod 0700 " + dir},
	} {
		before := map[string][32]byte{text: sum(t, text), short: sum(t, short)}
		tg, err := Open(c.o)
		if err == nil {
			t.Errorf("%+v was opened", c.o)
			tg.Close()
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "/proc/self") {
			t.Errorf("%+v: %q says nothing of %q", c.o, err, c.want)
		}
		for path, was := range before {
			if sum(t, path) != was {
				t.Errorf("%+v: %s has changed", c.o, path)
			}
		}
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 2 {
		t.Errorf("left behind: %v", names)
	}
}

// TestBlockDevicesRefused puts on a real block device what real tools put
// there.
func TestBlockDevicesRefused(t *testing.T) {
	blocktest.RequireRoot(t)
	for _, c := range []struct {
		pkg  string
		tool []string // the device is appended
		want string
	}{
		{"e2fsprogs", []string{"mkfs.ext4", "-q"}, "an ext2/3/4 file system"},
		{"util-linux", []string{"mkswap", "-q"}, "a swap area"},
		{"util-linux", []string{"sh", "-c", `addpart "$0" 1 2048 8192`}, "partitions loop"},
		{"fdisk", []string{"sh", "-c", `echo ',,L' | sfdisk -q --no-reread --no-tell-kernel "$0"`}, "a partition table or boot sector"},
		{"fdisk", []string{"sh", "-c", `echo ',,L' | sfdisk -q --no-reread --no-tell-kernel -X gpt "$0"`}, "a GPT partition table"},
		{"cryptsetup-bin", []string{"sh", "-c", `echo secret | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$0" -`}, "LUKS2 volume"},
	} {
		t.Run(c.want, func(t *testing.T) {
			file := blocktest.File(t, blocktest.Tmpfs(t), size)
			loop := blocktest.Loop(t, file, 512, "--partscan")
			blocktest.Command(t, c.pkg, c.tool[0], append(c.tool[1:], loop)...)
			if strings.HasPrefix(c.want, "partitions") {
				t.Cleanup(func() { blocktest.Command(t, "util-linux", "delpart", loop, "1") })
			}
			refused(t, file, Options{Path: loop}, ErrHoldsData, c.want)
			refused(t, file, Options{Path: loop, Erases: "/dev/other"}, ErrOtherTarget, loop)
			link := filepath.Join(t.TempDir(), "by-id")
			if err := os.Symlink(loop, link); err != nil {
				t.Fatal(err)
			}
			use(t, Options{Path: loop, Erases: link})
		})
	}
}

// refused asserts that o is refused and that the device is as before.
func refused(t *testing.T, file string, o Options, want error, text string) {
	t.Helper()
	before := sum(t, file)
	tg, err := Open(o)
	if err == nil {
		t.Errorf("%+v was opened", o)
		tg.Close()
		return
	}
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), o.Path) {
		t.Errorf("%+v: %q says nothing of %q", o, err, text)
	}
	if sum(t, file) != before {
		t.Errorf("%+v: the device has changed", o)
	}
}

// TestInUse: a device that somebody uses is refused whatever is given up.
func TestInUse(t *testing.T) {
	blocktest.RequireRoot(t)
	file := blocktest.File(t, blocktest.Tmpfs(t), size)
	loop := blocktest.Loop(t, file, 512)
	t.Run("mounted", func(t *testing.T) {
		blocktest.Command(t, "e2fsprogs", "mkfs.ext4", "-q", loop)
		at := t.TempDir()
		blocktest.Command(t, "mount", "mount", loop, at)
		defer blocktest.Command(t, "mount", "umount", at)
		refusedUnread(t, Options{Path: loop, Erases: loop}, "mounted at "+at)
	})
	t.Run("swap", func(t *testing.T) {
		blocktest.Command(t, "util-linux", "mkswap", "-q", "-f", loop)
		blocktest.Command(t, "mount", "swapon", loop)
		defer blocktest.Command(t, "mount", "swapoff", loop)
		refusedUnread(t, Options{Path: loop, Erases: loop}, "device is busy|opened exclusively")
	})
	t.Run("another bench", func(t *testing.T) {
		first, err := Open(Options{Path: loop, Erases: loop})
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		refusedUnread(t, Options{Path: loop, Erases: loop}, "opened exclusively")
	})
}

func refusedUnread(t *testing.T, o Options, text string) {
	t.Helper()
	tg, err := Open(o)
	if err == nil {
		tg.Close()
		t.Fatalf("%+v was opened", o)
	}
	if !errors.Is(err, blockdev.ErrBusy) {
		t.Errorf("%v is not ErrBusy", err)
	}
	for want := range strings.SplitSeq(text, "|") {
		if strings.Contains(err.Error(), want) {
			return
		}
	}
	t.Errorf("%q says nothing of %q", err, text)
}

func TestNamed(t *testing.T) {
	id := Identity{Path: "/dev/null", Serial: "S4N0"}
	for s, want := range map[string]bool{"/dev/null": true, "S4N0": true, "/dev/../dev/null": true,
		"S4N": false, "": false, "null": false, "/dev": false} {
		if got := id.named(s); got != want {
			t.Errorf("%q names %v: %v", s, id, got)
		}
	}
	if (&Identity{Path: "/dev/null"}).named("") {
		t.Error("nothing names a drive without a serial")
	}
}

// TestState runs on a volume that is there: the data go, the header stays.
func TestState(t *testing.T) {
	blocktest.RequireRoot(t) // the key's folder must be root's
	state, err := os.MkdirTemp("/root", "sealbench-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	folder, err := durable.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	store := local.New(folder)
	if err := store.Create(); err != nil {
		t.Fatal(err)
	}
	path := blocktest.File(t, "", size+8<<20) // a drive is larger than what a run uses
	formatUnder(t, store, path)
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	header := func() [32]byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(b[:DataOffset])
	}
	before := header()
	if _, err := Open(Options{Path: path, State: state}); !errors.Is(err, ErrHoldsData) {
		t.Errorf("a volume was not taken for data: %v", err)
	}
	use(t, Options{Path: path, State: state, Erases: path, Size: size})
	if header() != before {
		t.Error("the header has changed")
	}
}

func formatUnder(t *testing.T, store *local.Store, path string) {
	t.Helper()
	dev, err := direct.Open(path, direct.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	key, _, err := store.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	err = key.Use(func(kek []byte) error {
		_, err := blockcrypt.Format(dev, kek, blockcrypt.FormatOptions{Key: blockcrypt.KeyInfo{Epoch: 1, Store: blockcrypt.StoreLocal}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
