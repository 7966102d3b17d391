package rest

import "time"

// The eight values of Status.Status, exact to the letter.
const (
	NotEncrypted  = "Not Encrypted"
	Encrypted     = "Encrypted"
	Corrupted     = "Configuration Corrupted"
	KMSAvailable  = "KMS Available"
	KMSAuthError  = "KMS Authentication Error"
	KMSNoConnect  = "Cannot connect to KMS server."
	KMSNoKey      = "KMS Key Not Found"
	KMSInactive   = "KMS Key Inactive"
	TypeLocal     = "Local"
	TypeKMS       = "KMS"
	DefaultPort   = 5696 // of a KMIP server
	DefaultSocket = "/run/sealbay/rest.sock"
)

// Status answers encryption_get_status. Times are UTC; a zero one is left out.
type Status struct {
	CACertExpiry         time.Time `json:"ca_cert_expiry,omitzero"`
	ClientCertExpiry     time.Time `json:"client_cert_expiry,omitzero"`
	LastKeyRotationTime  time.Time `json:"last_key_rotation_time,omitzero"`
	LastStatusUpdateTime time.Time `json:"last_status_update_time,omitzero"`
	Status               string    `json:"status"`
	Type                 string    `json:"type,omitempty"`
}

// StatusV1 answers GET /v1/encryption/status: Encrypted or NotEncrypted.
type StatusV1 struct {
	Status              string    `json:"status"`
	LastKeyRotationTime time.Time `json:"last_key_rotation_time,omitzero"`
}

// KeyStore describes where the master key comes from, as the node tells it.
type KeyStore struct {
	Type  string      `json:"type,omitempty"`
	Local *LocalStore `json:"local_store,omitempty"`
	KMS   *KMSStore   `json:"kms_store,omitempty"`
}

// LocalStore is the root-only file on the boot drive.
type LocalStore struct {
	Status string `json:"status"`
}

// KMSStore is a KMIP server as the node uses it.
type KMSStore struct {
	ConfigCreationTime time.Time `json:"config_creation_time,omitzero"`
	Hostname           string    `json:"hostname"`
	KeyID              string    `json:"key_id"`
	Port               int       `json:"port"`
}

// SetKeyStore is the body of PUT /v2/encryption/key-store.
type SetKeyStore struct {
	Type string     `json:"type"`
	KMS  *KMSConfig `json:"kms_store,omitempty"`
}

// KMSConfig says how to reach a KMIP server and which key to use there.
// Certificates and the private key are PEM text. Port 0 means DefaultPort.
type KMSConfig struct {
	ServerCACert     string `json:"server_ca_cert"`
	ClientCert       string `json:"client_cert"`
	ClientPrivateKey string `json:"client_private_key"`
	Hostname         string `json:"hostname"`
	Port             *int   `json:"port,omitempty"`
	KeyID            string `json:"key_id,omitempty"`
}

// KMSCerts is the body of POST /v1/encryption/kms-certs: new certificates for
// the KMS in use. The node tries them before it keeps them.
type KMSCerts struct {
	ServerCACert     string `json:"server_ca_cert"`
	ClientCert       string `json:"client_cert"`
	ClientPrivateKey string `json:"client_private_key"`
}

// RotateKeys is the body of POST /v2/encryption/rotate-keys.
type RotateKeys struct {
	KeyID string `json:"key_id,omitempty"`
}

// CreateKey is the body of POST /v2/encryption/external-kms/keys/create. No
// KMSConfig means the KMS in use.
type CreateKey struct {
	KMS     *KMSConfig `json:"kms_config,omitempty"`
	KeyName string     `json:"key_name"`
}

// CreatedKey is the answer to CreateKey.
type CreatedKey struct {
	KeyID string `json:"key_id"`
}

// The states of a drive in the node's table.
const (
	DriveOpen    = "open"    // encrypted, the volume is open
	DriveLocked  = "locked"  // one of ours, but no key at hand opens it
	DriveBlank   = "blank"   // nothing on it; drive_format would take it
	DriveForeign = "foreign" // somebody else's data; never touched
	DriveAbsent  = "absent"  // known, not attached
	DriveFailed  = "failed"  // one of ours, attached, and broken
)

// Drive is one row of the node's drive table.
type Drive struct {
	Detail    string `json:"detail,omitempty"` // why it is not open, or what to know
	KeyEpoch  uint64 `json:"key_epoch,omitempty"`
	Path      string `json:"path,omitempty"` // where it is attached now
	Serial    string `json:"serial,omitempty"`
	SizeBytes int64  `json:"size_bytes,omitempty"`
	State     string `json:"state"`
	UUID      string `json:"uuid,omitempty"`
}

// DriveList answers drive_list, in the order of paths, absent drives last.
type DriveList struct {
	Drives []Drive `json:"drives"`
}

// DriveSelect names one drive by its serial number or LUKS UUID.
type DriveSelect struct {
	Serial string `json:"serial"`
}

// RescueKey is a key with which stock cryptsetup opens one drive, base64 in JSON.
type RescueKey struct {
	Serial string `json:"serial"`
	UUID   string `json:"uuid"`
	Key    []byte `json:"key"`
}

// EraseReceipt is the proof of a crypto-erase. The hashes are hexadecimal
// SHA-256 of the drive's header area before and after.
type EraseReceipt struct {
	Serial             string    `json:"serial"`
	UUID               string    `json:"uuid"`
	Path               string    `json:"path"`
	Time               time.Time `json:"time"`
	Method             string    `json:"method"`
	HeaderSHA256Before string    `json:"header_sha256_before"`
	HeaderSHA256After  string    `json:"header_sha256_after"`
	ReceiptFile        string    `json:"receipt_file,omitempty"`
}

// Volume is an open encrypted volume.
type Volume struct {
	Cipher      string `json:"cipher"`
	Path        string `json:"path"`
	SectorBytes int    `json:"sector_bytes"`
	Serial      string `json:"serial"`
	SizeBytes   int64  `json:"size_bytes"`
	UUID        string `json:"uuid"`
}

// VolumeList answers volume_list.
type VolumeList struct {
	Volumes []Volume `json:"volumes"`
}

// The states of a node.
const (
	StateSealed    = "sealed"    // there is no master key at hand
	StateUnlocking = "unlocking" // the key is here, drives are being opened
	StateOpen      = "open"      // every known drive is open
	StateRotating  = "rotating"  // a rotation is under way
	StateDegraded  = "degraded"  // the key is here, a known drive is not open
)

// NodeState answers node_state_get.
type NodeState struct {
	Alerts            []string   `json:"alerts,omitempty"` // what an operator must know, one sentence each
	DrivesKnown       int        `json:"drives_known"`
	DrivesLocked      int        `json:"drives_locked"`
	DrivesOpen        int        `json:"drives_open"`
	LastDrill         time.Time  `json:"last_drill,omitzero"`
	MissingOnRestart  int        `json:"locked_after_restart"` // drives that a restart now would leave locked
	OldKeyRetainedFor []string   `json:"old_key_retained_for,omitempty"`
	Rehearsal         *Rehearsal `json:"rehearsal,omitempty"`
	Since             time.Time  `json:"since"`
	State             string     `json:"state"`
}

// Rehearsal says what a restart would do, drive by drive.
type Rehearsal struct {
	Drives []RehearsedDrive `json:"drives"`
	Key    string           `json:"key"` // "fetched", or why not
	Passed bool             `json:"passed"`
	Time   time.Time        `json:"time"`
}

// RehearsedDrive is one drive's part of a Rehearsal.
type RehearsedDrive struct {
	Outcome string `json:"outcome"` // "would open", or why not
	Path    string `json:"path,omitempty"`
	Serial  string `json:"serial,omitempty"`
	UUID    string `json:"uuid"`
	Opens   bool   `json:"would_open"`
}

// Version answers version.
type Version struct {
	Go       string `json:"go"`
	Revision string `json:"revision,omitempty"`
	Version  string `json:"version"`
}

// WhoAmI answers who_am_i.
type WhoAmI struct {
	Name       string      `json:"name"`
	Privileges []Privilege `json:"privileges"`
	UID        *uint32     `json:"uid,omitempty"`
}

// AuditEntry is one line of the audit log. It never holds a key.
type AuditEntry struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	User    string    `json:"user"`
	UID     *uint32   `json:"uid,omitempty"`
	PID     int32     `json:"pid,omitempty"`
	What    string    `json:"what,omitempty"`
	Outcome string    `json:"outcome"` // "started", "done", "refused" or "failed"
	Reason  string    `json:"reason,omitempty"`
}

// AuditLog answers audit_get_log, oldest first.
type AuditLog struct {
	Entries []AuditEntry `json:"entries"`
}

// NewToken is the body of POST /v1/session/tokens: a token for a remote client.
type NewToken struct {
	Name  string `json:"name"`
	Write bool   `json:"write"` // also PrivilegeWrite
}

// Token answers NewToken. It is shown this once.
type Token struct {
	Name  string `json:"name"`
	Token string `json:"token"`
}

// TokenSelect names a token.
type TokenSelect struct {
	Name string `json:"name"`
}

// TokenInfo describes a token without giving it away.
type TokenInfo struct {
	Created    time.Time   `json:"created"`
	Name       string      `json:"name"`
	Privileges []Privilege `json:"privileges"`
}

// TokenList answers token_list.
type TokenList struct {
	Tokens []TokenInfo `json:"tokens"`
}

// BundleSecret opens or seals a recovery bundle: exactly one of the two.
type BundleSecret struct {
	Passphrase string `json:"passphrase,omitempty"`
	KeyFile    []byte `json:"key_file,omitempty"` // its content
}

// Bundle is a sealed recovery bundle.
type Bundle struct {
	Bundle []byte `json:"bundle"`
	// Missing names the drives that are not in it, and why.
	Missing []string `json:"missing,omitempty"`
}

// BundleUse is the body of keyring_drill and keyring_restore.
type BundleUse struct {
	BundleSecret
	Bundle []byte `json:"bundle"`
}

// BundleRescue is the body of keyring_rescue_key.
type BundleRescue struct {
	BundleUse
	DriveSelect
}

// Drill says what a recovery bundle is worth today.
type Drill struct {
	Created time.Time        `json:"bundle_created"`
	Drives  []RehearsedDrive `json:"drives"`
	Epoch   uint64           `json:"key_epoch"`
	Passed  bool             `json:"passed"`
	Problem string           `json:"problem,omitempty"`
	Time    time.Time        `json:"time"`
}

// Restored says what keyring_restore brought back.
type Restored struct {
	Created   time.Time `json:"bundle_created"`
	Drives    []string  `json:"drives"` // by UUID, of the drive table
	Mended    []string  `json:"headers_restored,omitempty"`
	StoreType string    `json:"type"`
}
