package keyring

import (
	"errors"
	"time"
)

// Status is the state of a store in one of eight exact strings, as
// encryption_get_status prints them.
type Status string

// The eight statuses.
const (
	NotEncrypted Status = "Not Encrypted"
	Encrypted    Status = "Encrypted"
	Corrupted    Status = "Configuration Corrupted"
	Available    Status = "KMS Available"
	AuthError    Status = "KMS Authentication Error"
	Unreachable  Status = "Cannot connect to KMS server."
	KeyNotFound  Status = "KMS Key Not Found"
	KeyInactive  Status = "KMS Key Inactive"
)

// The states that a Store's errors wrap. Each stands for one status but
// ErrPrepared and ErrClosed, which are of the caller's making.
var (
	// ErrNoKey: nothing was ever stored. Status: Not Encrypted.
	ErrNoKey = errors.New("no master key")
	// ErrCorrupt: the configuration or the key file cannot be used as it is.
	ErrCorrupt = errors.New("configuration corrupted")
	// ErrAuth: one side did not accept the other's certificate, or the key
	// belongs to another identity.
	ErrAuth = errors.New("KMS authentication error")
	// ErrUnreachable: no answer in time, or none that is KMIP.
	ErrUnreachable = errors.New("cannot connect to KMS server")
	// ErrKeyNotFound: the server has no such key, or has it no more.
	ErrKeyNotFound = errors.New("KMS key not found")
	// ErrKeyInactive: the server has the key in a state other than Active.
	ErrKeyInactive = errors.New("KMS key inactive")
	// ErrKeyLength: the key is not 256 bits long.
	ErrKeyLength = errors.New("wrong key length")
	// ErrPrepared: another key is prepared already.
	ErrPrepared = errors.New("a key is prepared already")
	// ErrClosed: the key or store was closed.
	ErrClosed = errors.New("closed")
)

// StatusOf returns the status that err means for a store of type t. An error
// of no known state counts as Configuration Corrupted with a local store and
// as unreachable with a key server: never as healthy.
func StatusOf(t Type, err error) Status {
	switch {
	case err == nil && t == KMS:
		return Available
	case err == nil:
		return Encrypted
	case errors.Is(err, ErrNoKey):
		return NotEncrypted
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrKeyLength):
		return Corrupted
	case errors.Is(err, ErrAuth):
		return AuthError
	case errors.Is(err, ErrKeyNotFound):
		return KeyNotFound
	case errors.Is(err, ErrKeyInactive):
		return KeyInactive
	case t == KMS:
		return Unreachable
	}
	return Corrupted
}

// Health is what a store knew of itself at a time. Times are zero where they
// do not apply.
type Health struct {
	Status Status
	Detail string    // one sentence: what is wrong and how to mend it; empty when all is well
	Time   time.Time // when this was found out

	ClientCertExpiry time.Time // of a key server's client certificate
	CACertExpiry     time.Time // of the CA certificate that vouched for the server, else the latest of those given
	ServerCertExpiry time.Time // of the leaf that the server showed last
}
