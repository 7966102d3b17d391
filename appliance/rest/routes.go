package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The sizes of bodies that the server reads at most, in bytes.
const (
	smallBody = 64 << 10  // three PEM files fit
	largeBody = 256 << 20 // a recovery bundle of hundreds of drives fits
)

// route is one verb of the interface.
type route struct {
	method, path string
	privilege    Privilege
	action       string // the verb's name in the audit log; empty for reads
	limit        int64
	serve        func(context.Context, *http.Request) (answer any, what string, err error)
}

// routes lists the whole interface.
func (s *Server) routes() []route {
	n := s.node
	r, w := PrivilegeRead, PrivilegeWrite
	return []route{
		{"GET", "/v1/encryption/status", r, "", 0, get(func() StatusV1 { return statusV1(n.Status()) })},
		{"GET", "/v2/encryption/key-store", r, "", 0, get(n.KeyStore)},
		{"GET", "/v2/encryption/key-store/status", r, "", 0, get(n.Status)},
		{"PUT", "/v2/encryption/key-store", w, "encryption_update_config", smallBody, do(n.SetKeyStore, whatStore)},
		{"POST", "/v1/encryption/rotate-keys", w, "encryption_rotate_keys", smallBody, do(func(ctx context.Context, _ struct{}) error {
			return n.RotateKeys(ctx, RotateKeys{})
		}, nil)},
		{"POST", "/v2/encryption/rotate-keys", w, "encryption_rotate_keys", smallBody, do(n.RotateKeys, whatRotate)},
		{"POST", "/v2/encryption/external-kms/keys/create", w, "encryption_create_key", smallBody, call(n.CreateKey, whatCreate)},
		{"POST", "/v1/encryption/kms-certs", w, "encryption_update_config", smallBody, do(n.ReplaceKMSCerts, func(KMSCerts) string { return "new KMS certificates" })},
		{"POST", "/v1/encryption/rehearse", r, "", smallBody, call(func(ctx context.Context, _ struct{}) (Rehearsal, error) { return n.Rehearse(ctx) }, nil)},

		{"GET", "/v1/drives", r, "", 0, get(n.Drives)},
		{"POST", "/v1/drives/format", w, "drive_format", smallBody, call(n.FormatDrive, whatDrive)},
		{"POST", "/v1/drives/forget", w, "drive_forget", smallBody, do(n.ForgetDrive, whatDrive)},
		{"POST", "/v1/drives/rescue-key", w, "drive_rescue_key", smallBody, call(n.RescueKey, whatDrive)},
		{"POST", "/v1/drives/crypto-erase", w, "drive_crypto_erase", smallBody, call(n.CryptoErase, whatDrive)},
		{"GET", "/v1/volumes", r, "", 0, get(n.Volumes)},

		{"GET", "/v1/node/state", r, "", 0, get(n.State)},
		{"GET", "/v1/version", "", "", 0, get(n.Version)},
		{"GET", "/v1/session/who-am-i", "", "", 0, whoAmI},
		{"POST", "/v1/keyring/backup", w, "keyring_backup", smallBody, call(n.Backup, nil)},
		{"POST", "/v1/keyring/drill", w, "keyring_drill", largeBody, call(n.Drill, nil)},
		{"POST", "/v1/keyring/rescue-key", w, "keyring_rescue_key", largeBody, call(n.RescueFromBundle, func(b BundleRescue) string { return whatDrive(b.DriveSelect) })},
		{"POST", "/v1/keyring/restore", w, "keyring_restore", largeBody, call(n.Restore, nil)},

		{"POST", "/v1/probe/start", w, "probe_start", smallBody, call(n.StartProbe, whatProbe)},
		{"GET", "/v1/probe/status", r, "", 0, get(n.Probes)},
		{"POST", "/v1/probe/stop", w, "probe_stop", smallBody, call(n.StopProbe, whatProbe)},

		{"GET", "/v1/session/tokens", r, "", 0, get(n.ListTokens)},
		{"POST", "/v1/session/tokens", w, "token_create", smallBody, call(n.CreateToken, func(t NewToken) string { return "token " + t.Name })},
		{"POST", "/v1/session/tokens/revoke", w, "token_revoke", smallBody, do(n.RevokeToken, func(t TokenSelect) string { return "token " + t.Name })},
		{"GET", "/v1/audit/log", r, "", 0, s.auditLog},
	}
}

func whatStore(c SetKeyStore) string {
	if c.KMS == nil {
		return "type " + c.Type
	}
	return "type " + c.Type + ", host " + c.KMS.Hostname + ", key ID " + c.KMS.KeyID
}

func whatRotate(c RotateKeys) string {
	if c.KeyID == "" {
		return ""
	}
	return "key ID " + c.KeyID
}

func whatCreate(c CreateKey) string { return "key name " + c.KeyName }

func whatDrive(d DriveSelect) string { return "drive " + d.Serial }

func statusV1(s Status) StatusV1 {
	v1 := StatusV1{Status: Encrypted, LastKeyRotationTime: s.LastKeyRotationTime}
	if s.Status == NotEncrypted {
		v1.Status = NotEncrypted
	}
	return v1
}

// get serves a read that needs nothing from the request.
func get[Out any](f func() Out) func(context.Context, *http.Request) (any, string, error) {
	return func(context.Context, *http.Request) (any, string, error) { return f(), "", nil }
}

// call serves a verb with a body and an answer; what describes the body for
// the audit log.
func call[In, Out any](f func(context.Context, In) (Out, error), what func(In) string) func(context.Context, *http.Request) (any, string, error) {
	return func(ctx context.Context, r *http.Request) (any, string, error) {
		in, err := decode[In](r)
		if err != nil {
			return nil, "", err
		}
		said := ""
		if what != nil {
			said = what(in)
		}
		if err := begin(ctx, said); err != nil {
			return nil, said, err
		}
		out, err := f(ctx, in)
		return out, said, err
	}
}

// do serves a verb without an answer.
func do[In any](f func(context.Context, In) error, what func(In) string) func(context.Context, *http.Request) (any, string, error) {
	return call(func(ctx context.Context, in In) (struct{}, error) { return struct{}{}, f(ctx, in) }, what)
}

// decode reads the one JSON object of a request; no body counts as {}.
// A field that nobody knows is an error: a misspelt option must not be
// dropped quietly.
func decode[In any](r *http.Request) (in In, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		return in, badBody(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return in, badBody(err)
		}
		return in, Errorf(http.StatusBadRequest, "request body: more than one JSON value")
	}
	return in, nil
}

func badBody(err error) *Error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Errorf(http.StatusRequestEntityTooLarge, "request body: more than %d bytes", tooLarge.Limit)
	}
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Errorf(http.StatusBadRequest, "request body: field %q cannot be a %s", typ.Field, typ.Value)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return Errorf(http.StatusBadRequest, "request body: the JSON ends in the middle")
	}
	// The JSON package's texts name the field or the place, never a value.
	return Errorf(http.StatusBadRequest, "request body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func whoAmI(ctx context.Context, _ *http.Request) (any, string, error) {
	p := peerFrom(ctx)
	return WhoAmI{Name: p.Name, UID: p.UID, Privileges: p.Privileges}, "", nil
}

func (s *Server) auditLog(_ context.Context, r *http.Request) (any, string, error) {
	n := 0
	if q := r.URL.Query().Get("limit"); q != "" {
		var err error
		if n, err = strconv.Atoi(q); err != nil || n <= 0 {
			return nil, "", Errorf(http.StatusBadRequest, "limit %q: must be a positive number", q)
		}
	}
	entries, err := s.audit.Last(n)
	if err != nil {
		return nil, "", err
	}
	if entries == nil {
		entries = []AuditEntry{}
	}
	return AuditLog{Entries: entries}, "", nil
}
