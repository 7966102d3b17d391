package probe_test

import (
	"runtime"
	"testing"

	"sealbay/blockcrypt/blocktest"
)

// loopDevice returns a loop device with direct I/O over size bytes of tmpfs,
// the steadiest device with a request queue that every machine has.
func loopDevice(t testing.TB, size int64) string {
	t.Helper()
	return blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), size), 4096)
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
