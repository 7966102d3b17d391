package appliance

import (
	"fmt"
	"os"
	"syscall"
)

// hardenProcess turns core files off and keeps other users' debuggers out
// (prctl(2), PR_SET_DUMPABLE): a crash must not write a key to a drive.
func hardenProcess() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("turning core files off: %w", os.NewSyscallError("setrlimit", err))
	}
	const undumpable = 0
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, undumpable, 0); errno != 0 {
		return fmt.Errorf("turning core files off: %w", os.NewSyscallError("prctl", errno))
	}
	return nil
}
