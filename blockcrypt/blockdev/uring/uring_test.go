package uring

import (
	"testing"
	"unsafe"

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
var targets = map[string]func(testing.TB) string{
	"file":           func(t testing.TB) string { return blocktest.File(t, "", size) },
	"tmpfs":          func(t testing.TB) string { return blocktest.File(t, blocktest.Tmpfs(t), size) },
	"loop over file": func(t testing.TB) string { return blocktest.Loop(t, blocktest.File(t, "", size), 512) },
	"loop over tmpfs": func(t testing.TB) string {
		return blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), size), 4096)
	},
}

func TestSuite(t *testing.T) {
	for name, target := range targets {
		t.Run(name, func(t *testing.T) {
			path := target(t)
			blocktest.Suite(t, func(t *testing.T) blockdev.Device { return mustOpen(t, path, Options{}) })
			t.Run("ReadOnly", func(t *testing.T) {
				blocktest.Suite(t, func(t *testing.T) blockdev.Device { return mustOpen(t, path, Options{ReadOnly: true}) })
			})
		})
	}
}

// The kernel's structures must have the kernel's sizes and offsets
// (linux/io_uring.h).
func TestLayout(t *testing.T) {
	var s sqe
	var p params
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"sqe", unsafe.Sizeof(s), 64}, {"sqe.off", unsafe.Offsetof(s.off), 8}, {"sqe.addr", unsafe.Offsetof(s.addr), 16},
		{"sqe.len", unsafe.Offsetof(s.length), 24}, {"sqe.rw_flags", unsafe.Offsetof(s.rwFlags), 28},
		{"sqe.user_data", unsafe.Offsetof(s.userData), 32}, {"sqe.buf_index", unsafe.Offsetof(s.bufIndex), 40},
		{"sqe.addr3", unsafe.Offsetof(s.addr3), 48}, {"cqe", unsafe.Sizeof(cqe{}), 16},
		{"params", unsafe.Sizeof(p), 120}, {"params.sq_off", unsafe.Offsetof(p.sq), 40}, {"params.cq_off", unsafe.Offsetof(p.cq), 80},
		{"params.features", unsafe.Offsetof(p.features), 20}, {"probe", unsafe.Sizeof(probe{}), 16 + 256*8},
		{"nvme_uring_cmd", unsafe.Sizeof(nvmeCommand{}), 72}, {"nvme_uring_cmd.addr", unsafe.Offsetof(nvmeCommand{}.addr), 24},
		{"nvme_uring_cmd.data_len", unsafe.Offsetof(nvmeCommand{}.length), 36}, {"nvme_uring_cmd.cdw10", unsafe.Offsetof(nvmeCommand{}.cdw10), 40},
		{"sq_off.array", unsafe.Offsetof(p.sq.array), 24}, {"cq_off.cqes", unsafe.Offsetof(p.cq.cqes), 20},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
}

func TestFeatures(t *testing.T) {
	for _, f := range Features() {
		t.Logf("%s (%s): %v", f.Name, f.Since, f.Answer)
		if f.Answer == CouldNotTell {
			t.Errorf("%s: could not tell on a kernel that has io_uring", f.Name)
		}
	}
}
