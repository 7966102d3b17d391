package uring

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/internal/osdev"
)

// namespace is an NVMe namespace that takes commands directly: reads and
// writes go past the block layer, as linux/nvme_ioctl.h's NVME_URING_CMD_IO
// (Linux 5.19, with registered buffers 6.1). All else goes the usual way.
type namespace struct {
	file *os.File // /dev/ngXnY
	id   uint32
	most int // bytes; the largest command
	lba  int // bytes
}

// nvmeCommand is struct nvme_uring_cmd. It stands at byte 48 of a submission
// of 128 bytes.
type nvmeCommand struct {
	opcode, flags          uint8
	_                      uint16
	nsid, cdw2, cdw3       uint32
	metadata, addr         uint64
	metadataLength, length uint32
	cdw10, cdw11, cdw12    uint32
	cdw13, cdw14, cdw15    uint32
	timeout, _             uint32
}

const (
	nvmeCommandAt = 48
	nvmeIO        = 3<<30 | 72<<16 | 'N'<<8 | 0x80 // NVME_URING_CMD_IO
	nvmeID        = 'N'<<8 | 0x40                  // NVME_IOCTL_ID
	nvmeWrite     = 1                              // NVM command set, 3.2
	nvmeRead      = 2
	nvmeFUA       = 1 << 30 // of command dword 12
	commandFixed  = 1 << 0  // IORING_URING_CMD_FIXED
)

// openNamespace finds the command device of the block device n. The error
// says why there is none.
func openNamespace(n *osdev.Node) (*namespace, error) {
	dir, err := filepath.EvalSymlinks(n.Sysfs())
	if err != nil {
		return nil, err
	}
	number, ok := strings.CutPrefix(filepath.Base(dir), "nvme")
	if _, err := os.Stat(dir + "/partition"); !n.Block || !ok || err == nil {
		return nil, errors.New("not a whole NVMe namespace")
	}
	ns := &namespace{lba: n.Info.Sector}
	if ns.most, err = largestCommand(dir); err != nil {
		return nil, err
	}
	mode := os.O_RDWR
	if n.Info.ReadOnly {
		mode = os.O_RDONLY
	}
	if ns.file, err = os.OpenFile("/dev/ng"+number, mode, 0); err != nil {
		return nil, err
	}
	id, err := unix.IoctlRetInt(int(ns.file.Fd()), nvmeID)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking the namespace's number: %w", err), ns.file.Close())
	}
	ns.id = uint32(id)
	return ns, nil
}

// largestCommand asks the limits that the block layer would split by: here
// nobody splits. Memory may come in single pages.
func largestCommand(dir string) (int, error) {
	kib, err := number(dir + "/queue/max_hw_sectors_kb")
	if err != nil {
		return 0, err
	}
	segments, err := number(dir + "/queue/max_segments")
	if err != nil {
		return 0, err
	}
	most := min(kib<<10, (segments-1)*blockdev.PageSize) &^ (blockdev.PageSize - 1)
	if most <= 0 {
		return 0, fmt.Errorf("commands of %d KiB in %d segments hold no page", kib, segments)
	}
	return most, nil
}

func number(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// polls reports whether the block device has queues that can be polled.
func polls(n *osdev.Node) bool {
	v, err := number(n.Sysfs() + "/queue/io_poll")
	if err != nil {
		v, err = number(n.Sysfs() + "/../queue/io_poll") // a partition's drive
	}
	return n.Block && err == nil && v == 1
}

// command makes s the NVMe command that moves buf, or its first part, and
// returns how many bytes that is.
func (ns *namespace) command(s *sqe, r *blockdev.Request, buf []byte, off int64) int {
	n := min(len(buf), ns.most)
	s.opcode, s.off, s.fd = opCommand, nvmeIO, 1
	c := (*nvmeCommand)(unsafe.Add(unsafe.Pointer(s), nvmeCommandAt))
	first := uint64(off / int64(ns.lba))
	*c = nvmeCommand{
		opcode: nvmeRead, nsid: ns.id, length: uint32(n),
		addr:  uint64(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))),
		cdw10: uint32(first), cdw11: uint32(first >> 32), cdw12: uint32(n/ns.lba - 1),
	}
	if r.Op == blockdev.Write {
		c.opcode = nvmeWrite
		if r.Flags&blockdev.FUA != 0 {
			c.cdw12 |= nvmeFUA
		}
	}
	return n
}
