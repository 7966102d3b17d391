package probe_test

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"sealbay/blockcrypt/blocktest"
)

// loopDevice returns a loop device with direct I/O over size bytes of tmpfs,
// the steadiest device with a request queue that every machine has.
func loopDevice(t testing.TB, size int64) string {
	t.Helper()
	return blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), size), 4096)
}

// zram returns a compressed RAM disk, a device that takes bios and makes no
// requests.
func zram(t testing.TB, size int64) string {
	t.Helper()
	blocktest.RequireRoot(t)
	const control = "/sys/class/zram-control/"
	if _, err := os.Stat(control); err != nil {
		blocktest.Command(t, "kmod", "modprobe", "zram")
	}
	id, err := os.ReadFile(control + "hot_add")
	must(t, err)
	n := strings.TrimSpace(string(id))
	t.Cleanup(func() { must(t, os.WriteFile(control+"hot_remove", []byte(n), 0)) })
	must(t, os.WriteFile("/sys/block/zram"+n+"/disksize", []byte(strconv.FormatInt(size, 10)), 0))
	return "/dev/zram" + n
}

// onOneThread runs f locked to a thread that ends with it.
func onOneThread(t testing.TB, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
