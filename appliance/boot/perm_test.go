package boot

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"sealbay/blockcrypt/blocktest"
)

// labelled makes a file with an ext4 file system of that label.
func labelled(t *testing.T, label string) string {
	t.Helper()
	path := blocktest.File(t, t.TempDir(), 4<<20)
	blocktest.Command(t, "e2fsprogs", "mkfs.ext4", "-q", "-L", label, path)
	return path
}

func TestExt4Label(t *testing.T) {
	if got := ext4Label(labelled(t, "sealbay-perm")); got != "sealbay-perm" {
		t.Errorf("%q", got)
	}
	if got := ext4Label(labelled(t, "sixteen-bytes-ok")); got != "sixteen-bytes-ok" {
		t.Errorf("a label that fills its field: %q", got)
	}
	if got := ext4Label(blocktest.File(t, t.TempDir(), 4<<20)); got != "" {
		t.Errorf("a blank drive: %q", got)
	}
	if got := ext4Label(t.TempDir() + "/none"); got != "" {
		t.Errorf("no drive: %q", got)
	}
}

func TestWaitForLabel(t *testing.T) {
	blocktest.RequireRoot(t)
	label := "t" + strconv.FormatInt(time.Now().UnixNano()%1e12, 36)
	_, err := waitForLabel(label, 150*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "no ext4 partition labelled "+label+" within 150ms; drives seen: ") {
		t.Errorf("with none: %v", err)
	}
	one := blocktest.Loop(t, labelled(t, label), 512)
	if got, err := waitForLabel(label, 5*time.Second); err != nil || got != one {
		t.Errorf("with one: %q, %v; want %s", got, err, one)
	}
	two := blocktest.Loop(t, labelled(t, label), 512)
	_, err = waitForLabel(label, 5*time.Second)
	if err == nil || !strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), two) {
		t.Errorf("with two: %v; want both named", err)
	}
}
