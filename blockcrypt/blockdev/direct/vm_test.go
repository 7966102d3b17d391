//go:build vm

package direct_test

import (
	"os"
	"testing"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
	"sealbay/blockcrypt/blocktest"
)

// TestVMDrives holds direct I/O against real drivers of the appliance's
// kernel, which files and loop devices do not go through.
func TestVMDrives(t *testing.T) {
	if os.Getenv("SEALBAY_VM") == "" {
		t.Fatal("runs inside the appliance's kernel only: make test-vm")
	}
	for _, path := range []string{"/dev/vda", "/dev/nvme0n1", "/dev/sda"} {
		t.Run(path, func(t *testing.T) {
			blocktest.Suite(t, func(t *testing.T) blockdev.Device {
				dev, err := direct.Open(path, direct.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return dev
			})
		})
	}
}
