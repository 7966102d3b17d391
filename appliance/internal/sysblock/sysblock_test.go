package sysblock

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesAreFoundOnceEach(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.img", "a.img", "note.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a.img", filepath.Join(dir, "z.img")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d.img"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := Finder{}.Find([]string{dir + "/*.img", dir + "/a*", dir + "/missing"})
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	for i, name := range []string{"a.img", "b.img"} {
		if got[i].Path != filepath.Join(dir, name) || got[i].Serial != name || got[i].Size != 4096 || got[i].InUse != "" {
			t.Errorf("got %+v", got[i])
		}
	}
	if _, err := (Finder{}).Find([]string{"/dev/[a"}); err == nil || !strings.Contains(err.Error(), "/dev/[a") {
		t.Errorf("a broken pattern: %v", err)
	}
}

// tree is a sysfs with a plain NVMe drive, a hidden NVMe path, a SATA boot
// drive with a partition, a drive below a device-mapper device and one empty
// card reader. Device nodes cannot be made without root, so block is called.
func tree(t *testing.T) Finder {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"sys/devices/nvme0n1/size":                 "2048\n",
		"sys/devices/nvme0n1/hidden":               "0\n",
		"sys/devices/nvme0n1/device/serial":        "NV-1   \n",
		"sys/devices/nvme0n1/dev":                  "259:0\n",
		"sys/devices/nvme0c0n1/size":               "2048\n",
		"sys/devices/nvme0c0n1/hidden":             "1\n",
		"sys/devices/sda/size":                     "4096\n",
		"sys/devices/sda/dev":                      "8:0\n",
		"sys/devices/sda/device/vpd_pg80":          "\x00\x80\x00\x08  SAT-7 ",
		"sys/devices/sda/sda1/partition":           "1\n",
		"sys/devices/sda/sda1/size":                "2048\n",
		"sys/devices/sda/sda1/dev":                 "8:1\n",
		"sys/devices/sdb/size":                     "4096\n",
		"sys/devices/sdb/dev":                      "8:16\n",
		"sys/devices/sdb/holders/dm-0/dev":         "252:0\n",
		"sys/devices/sdc/size":                     "0\n",
		"sys/devices/sdd/size":                     "4096\n",
		"sys/devices/sdd/dev":                      "8:48\n",
		"sys/devices/dm-1/dev":                     "252:1\n",
		"sys/devices/dm-1/size":                    "4096\n",
		"sys/devices/dm-1/slaves/sdd/dev":          "8:48\n",
		"proc/self/mountinfo":                      "1 0 8:1 / / rw - ext4 /dev/root rw\n2 1 252:1 / /srv rw - xfs /dev/mapper/x rw\n3 1 0:5 / /tmp rw - tmpfs tmpfs rw\n",
		"proc/swaps":                               "Filename Type Size Used Priority\n",
		"sys/devices/nvme0n1/queue/rotational":     "0\n",
		"sys/devices/nvme0n1/integrity/tag_size":   "0\n",
		"sys/devices/nvme0n1/mq/0/nr_reserved_tag": "1\n",
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "sys/dev/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	for number, dir := range map[string]string{"259:0": "nvme0n1", "259:1": "nvme0c0n1", "8:0": "sda", "8:1": "sda/sda1", "8:16": "sdb", "8:32": "sdc", "8:48": "sdd", "252:1": "dm-1"} {
		if err := os.Symlink(filepath.Join("../../devices", dir), filepath.Join(root, "sys/dev/block", number)); err != nil {
			t.Fatal(err)
		}
	}
	return Finder{Sys: filepath.Join(root, "sys"), Proc: filepath.Join(root, "proc")}
}

func TestBlockDevices(t *testing.T) {
	f := tree(t)
	busy, err := f.busy(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ number, want string }{
		{"259:0", "NV-1 1048576 "},
		{"259:1", "not a drive"},
		{"8:0", "SAT-7 2097152 is the boot drive"},
		{"8:1", "not a drive"},
		{"8:16", " 2097152 is part of dm-0"},
		{"8:32", "not a drive"},
		{"8:48", " 2097152 is mounted on /srv"},
	} {
		d, err := f.block("/dev/x", c.number, busy)
		if err != nil {
			t.Errorf("%s: %v", c.number, err)
			continue
		}
		got := "not a drive"
		if d != nil {
			got = fmt.Sprintf("%s %d %s", d.Serial, d.Size, d.InUse)
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.number, got, c.want)
		}
	}
}

// TestRealSystem checks against findmnt, which is not ours: the drive that the
// root file system lies on is never free.
func TestRealSystem(t *testing.T) {
	source, err := exec.Command("findmnt", "-no", "MAJ:MIN", "/").Output()
	if err != nil {
		t.Fatalf("findmnt (package util-linux): %v", err)
	}
	number := strings.TrimSpace(string(source))
	busy, err := Finder{}.busy([]string{t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(number, "0:") {
		t.Skipf("the root file system (%s) lies on no block device here, so there is nothing to compare", number)
	}
	if busy[number] == "" {
		t.Errorf("%s, which the root file system lies on, counts as free: %v", number, busy)
	}
}

func TestDevNumber(t *testing.T) {
	// As glibc's makedev packs them.
	for dev, want := range map[uint64]string{0x801: "8:1", 0x10300: "259:0", 0x10fe34: "254:308"} {
		if got := devNumber(dev); got != want {
			t.Errorf("devNumber(%#x) = %s, want %s", dev, got, want)
		}
	}
}
