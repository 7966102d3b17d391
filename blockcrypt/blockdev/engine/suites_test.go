package engine

import (
	"testing"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/blockcrypt/blockdev/uring"
	"sealbay/blockcrypt/blocktest"
)

// drives are the ways to a drive that loses its power or fails on purpose,
// through real system calls: each engine, on a file and on a block device.
func drives(t *testing.T, run func(t *testing.T, m *blocktest.Memory, over func(*testing.T, *blocktest.Memory) blockdev.Device)) {
	const size = blocktest.SuiteSize
	for _, target := range []string{"file", "loop"} {
		m := blocktest.New(size, blocktest.Options{})
		mounted := blocktest.Mount(t, m)
		path := mounted.Path
		if target == "loop" {
			path = blocktest.Loop(t, path, 512)
		}
		for _, engine := range []string{direct.Engine, uring.Engine} {
			t.Run(engine+"/"+target, func(t *testing.T) {
				run(t, m, func(t *testing.T, m *blocktest.Memory) blockdev.Device {
					t.Helper()
					mounted.Swap(m)
					d, err := Open(path, engine, Options{})
					if err != nil {
						t.Fatal(err)
					}
					return d
				})
			})
		}
	}
}

// What an engine promises with Flush and FUA must reach the drive as such.
func TestPowerCut(t *testing.T) {
	drives(t, func(t *testing.T, m *blocktest.Memory, over func(*testing.T, *blocktest.Memory) blockdev.Device) {
		blocktest.PowerCut(t, m, over)
	})
}

func TestFaults(t *testing.T) {
	drives(t, blocktest.Faults)
}
