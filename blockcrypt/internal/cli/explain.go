package cli

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
)

// remedies says what to do about errors that the packages below only state.
// The first that fits is printed.
var remedies = []struct {
	err  error
	text string
}{
	{errNoTarget, "; make the file first: truncate -s 64M FILE"},
	{errKeyFile, "; it is made by: head -c 32 /dev/urandom > FILE"},
	{errTerminal, "; give --out FILE or redirect it"},
	{fs.ErrNotExist, "; is the drive attached? (lsblk)"},
	{fs.ErrPermission, "; run as root"},
	{blockdev.ErrBusy, "; unmount or release it first"},
	{blockcrypt.ErrReadOnly, "; nothing was changed"},
	{syscall.EROFS, "; nothing was changed"},
	{blockcrypt.ErrForeignData, "; to erase it all, add --i-know-this-erases with its path or serial"},
	{blockcrypt.ErrTooSmall, "; nothing was changed"},
	{blockcrypt.ErrTruncated, "; restore it to its full size"},
	{blockcrypt.ErrNoHeader, "; sealvol format makes a volume"},
	{blockcrypt.ErrCorrupt, "; if there is a header backup: sealvol restore"},
	{blockcrypt.ErrDegraded, "; it opens all the same, mend it: sealvol repair"},
	{blockcrypt.ErrEdited, "; if that was you: sealvol adopt"},
	{blockcrypt.ErrNotSealbay, "; if cryptsetup made it with our cipher and sizes: --foreign"},
	{blockcrypt.ErrWrongKey, "; sealvol dump shows which key it wants"},
	{blockcrypt.ErrLastKey, "; add another key first"},
	{blockcrypt.ErrStale, "; to put it back all the same: --force"},
	{blockcrypt.ErrOtherDrive, "; to put it there all the same: --force"},
}

// explain returns the text for a person, one line, and the exit code.
func explain(err error) (string, int) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if errors.Is(err, errUsage) || strings.HasPrefix(text, "unknown command") {
		return strings.TrimPrefix(text, "usage: "), 2
	}
	for _, r := range remedies {
		if errors.Is(err, r.err) {
			return text + r.text, 1
		}
	}
	return text, 1
}
