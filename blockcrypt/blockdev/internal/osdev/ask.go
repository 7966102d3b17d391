package osdev

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// askBlock: sizes by ioctl (blkdev_get ioctls of linux/fs.h), buffer
// alignment by statx, discard by sysfs.
func (n *Node) askBlock() error {
	if err := ioctl(n.FD, unix.BLKGETSIZE64, unsafe.Pointer(&n.Info.Size)); err != nil {
		return fmt.Errorf("asking its size: %w", err)
	}
	sector, err := unix.IoctlGetInt(n.FD, unix.BLKSSZGET)
	if err != nil {
		return fmt.Errorf("asking its sector size: %w", err)
	}
	var physical uint32 // BLKPBSZGET fills an unsigned int
	if err := ioctl(n.FD, unix.BLKPBSZGET, unsafe.Pointer(&physical)); err != nil {
		return fmt.Errorf("asking its physical sector size: %w", err)
	}
	var readOnly int32
	if err := ioctl(n.FD, unix.BLKROGET, unsafe.Pointer(&readOnly)); err != nil {
		return fmt.Errorf("asking whether it is read-only: %w", err)
	}
	if readOnly != 0 && !n.Info.ReadOnly {
		return blockdev.ErrReadOnly
	}
	n.Info.Sector, n.Info.Physical, n.Info.Align = sector, max(int(physical), sector), sector
	if mem, _, ok := n.dioAlign(); ok {
		n.Info.Align = mem
	}
	n.Info.Discard = !n.Info.ReadOnly && n.discardLimit() > 0
	return nil
}

// askFile: where the kernel does not tell the alignment of direct I/O (older
// than 6.1, or tmpfs), the file system's block is always enough.
func (n *Node) askFile() error {
	var st unix.Stat_t
	if err := unix.Fstat(n.FD, &st); err != nil {
		return fmt.Errorf("asking its size: %w", err)
	}
	block := clampBlock(int(st.Blksize))
	n.Info.Size = st.Size
	n.Info.Sector, n.Info.Physical, n.Info.Align = block, block, block
	if mem, offset, ok := n.dioAlign(); ok {
		n.Info.Sector, n.Info.Align = max(offset, 512), mem
		n.Info.Physical = max(block, n.Info.Sector)
	}
	n.Info.Discard = !n.Info.ReadOnly && n.canPunch(st.Size)
	return nil
}

// clampBlock keeps a file system's preferred I/O size, which may be huge,
// between the smallest sector and a page.
func clampBlock(n int) int {
	if n < 512 || n > blockdev.PageSize || n&(n-1) != 0 {
		return blockdev.PageSize
	}
	return n
}

// dioAlign asks statx(2), STATX_DIOALIGN, since Linux 6.1.
func (n *Node) dioAlign() (mem, offset int, ok bool) {
	var st unix.Statx_t
	err := unix.Statx(n.FD, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_mem_align == 0 || st.Dio_offset_align == 0 {
		return 0, 0, false
	}
	return int(st.Dio_mem_align), int(st.Dio_offset_align), true
}

// discardLimit reads discard_max_bytes of the drive or of the partition's
// drive; 0 where there is no discard or no sysfs.
func (n *Node) discardLimit() int64 {
	for _, up := range []string{"", "/.."} {
		b, err := os.ReadFile(n.Sysfs() + up + "/queue/discard_max_bytes")
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err == nil {
			return limit
		}
	}
	return 0
}

// Sysfs returns the folder of a block device in sysfs.
func (n *Node) Sysfs() string {
	var st unix.Stat_t
	if err := unix.Fstat(n.FD, &st); err != nil {
		return "/nonexistent"
	}
	return sysfsOf(st.Rdev)
}

func sysfsOf(dev uint64) string {
	return fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
}

// canPunch asks for a hole behind the end of the file, where there is
// nothing to lose.
func (n *Node) canPunch(size int64) bool {
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	behind := (size + 1<<20 - 1) &^ (1<<20 - 1)
	return unix.Fallocate(n.FD, mode, behind, blockdev.PageSize) == nil
}

// Blocks asks whether a request may block whoever makes it: preadv2(2) of a
// device or file that can do without answers RWF_NOWAIT with data or EAGAIN,
// others with EOPNOTSUPP.
func (n *Node) Blocks() bool {
	buf, err := unix.Mmap(-1, 0, blockdev.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false
	}
	_, err = unix.Preadv2(n.FD, [][]byte{buf[:min(n.Info.Sector, len(buf))]}, 0, unix.RWF_NOWAIT)
	_ = unix.Munmap(buf) // it was mapped
	return err == unix.EOPNOTSUPP
}

func ioctl(fd int, req uintptr, arg unsafe.Pointer) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}
