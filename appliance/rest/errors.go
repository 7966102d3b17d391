package rest

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is the body of every answer that is not a success.
type Error struct {
	Code        int      `json:"-"` // HTTP status
	Module      string   `json:"module"`
	Class       string   `json:"error_class"`
	Description string   `json:"description"`
	Stack       []string `json:"stack"`
	UserVisible bool     `json:"user_visible"`
	Inner       *Error   `json:"inner,omitempty"`
}

// Error gives "Error 404: class: description".
func (e *Error) Error() string {
	return fmt.Sprintf("Error %d: %s: %s", e.Code, e.Class, e.Description)
}

// classes names the error_class of each HTTP status that the node answers.
var classes = map[int]string{
	http.StatusBadRequest:            "http_bad_request_error",
	http.StatusUnauthorized:          "http_unauthorized_error",
	http.StatusForbidden:             "http_forbidden_error",
	http.StatusNotFound:              "http_not_found_error",
	http.StatusMethodNotAllowed:      "http_method_not_allowed_error",
	http.StatusConflict:              "http_conflict_error",
	http.StatusRequestEntityTooLarge: "http_request_entity_too_large_error",
	http.StatusTooManyRequests:       "http_too_many_requests_error",
	http.StatusInternalServerError:   "http_internal_server_error",
	http.StatusBadGateway:            "http_bad_gateway_error",
	http.StatusServiceUnavailable:    "http_service_unavailable_error",
}

// Errorf makes an error for the HTTP status code, with a sentence for the user.
func Errorf(code int, format string, args ...any) *Error {
	class := classes[code]
	if class == "" {
		class = fmt.Sprintf("http_%d_error", code)
	}
	return &Error{Code: code, Module: "rest", Class: class, Description: fmt.Sprintf(format, args...), Stack: []string{}, UserVisible: true}
}

// asError turns what a Node returned into the error to send: an *Error as it
// is, anything else as an internal error with its text.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Errorf(http.StatusInternalServerError, "%v", err)
}
