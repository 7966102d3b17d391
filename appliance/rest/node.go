package rest

import "context"

// Node is what the server serves. A method that returns an *Error chooses the
// HTTP status; any other error is a 500 with its text. Methods are called from
// many goroutines. The context of a write lasts until the work is done, also
// when the client goes away: nothing is left half done by a Ctrl-C.
type Node interface {
	// Status answers from memory: it never waits for a network or a drive.
	Status() Status
	KeyStore() KeyStore
	SetKeyStore(context.Context, SetKeyStore) error
	RotateKeys(context.Context, RotateKeys) error
	CreateKey(context.Context, CreateKey) (CreatedKey, error)
	ReplaceKMSCerts(context.Context, KMSCerts) error
	Rehearse(context.Context) (Rehearsal, error)

	Drives() DriveList
	FormatDrive(context.Context, DriveSelect) (Drive, error)
	ForgetDrive(context.Context, DriveSelect) error
	RescueKey(context.Context, DriveSelect) (RescueKey, error)
	CryptoErase(context.Context, DriveSelect) (EraseReceipt, error)
	Volumes() VolumeList

	Backup(context.Context, BundleSecret) (Bundle, error)
	Drill(context.Context, BundleUse) (Drill, error)
	Restore(context.Context, BundleUse) (Restored, error)
	RescueFromBundle(context.Context, BundleRescue) (RescueKey, error)

	CreateToken(context.Context, NewToken) (Token, error)
	RevokeToken(context.Context, TokenSelect) error
	ListTokens() TokenList

	Prober

	State() NodeState
	Version() Version
}

// Auditor keeps the audit log.
type Auditor interface {
	// Record returns once the entry is on stable storage.
	Record(AuditEntry) error
	// Last returns the newest n entries, oldest first; all for n <= 0.
	Last(n int) ([]AuditEntry, error)
}
