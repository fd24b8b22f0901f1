package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// class is what a failure asks for.
type class int

const (
	transient     class = iota // try again, for ever: all that is not listed below
	tooManyParts               // the server cannot merge as fast: insert less often
	tooLarge                   // so many rows at once: send fewer
	tableChanged               // read the table's columns again
	needsOperator              // pause, probe, resume
	badRow                     // some row of the block is at fault
)

func (c class) String() string {
	return [...]string{"transient", "too many parts", "too large", "table changed", "needs an operator", "bad row"}[c]
}

// code is a number by which ClickHouse names an exception.
type code struct {
	number int32
	name   string
	class  class
	advice string // what an operator has to do; for needsOperator only
}

// codes lists the exceptions that are not transient. DELIVERY.md repeats it,
// and a test compares the two.
var codes = [...]code{
	{252, "TOO_MANY_PARTS", tooManyParts, ""}, // too large if it is about the partitions of one block

	{158, "TOO_MANY_ROWS", tooLarge, ""},
	{159, "TIMEOUT_EXCEEDED", tooLarge, ""},
	{160, "TOO_SLOW", tooLarge, ""},
	{173, "CANNOT_ALLOCATE_MEMORY", tooLarge, ""},
	{241, "MEMORY_LIMIT_EXCEEDED", tooLarge, ""},
	{307, "TOO_MANY_BYTES", tooLarge, ""},
	{396, "TOO_MANY_ROWS_OR_BYTES", tooLarge, ""},

	{8, "THERE_IS_NO_COLUMN", tableChanged, ""},
	{10, "NOT_FOUND_COLUMN_IN_BLOCK", tableChanged, ""},
	{16, "NO_SUCH_COLUMN_IN_TABLE", tableChanged, ""},
	{47, "UNKNOWN_IDENTIFIER", tableChanged, ""},
	{53, "TYPE_MISMATCH", tableChanged, ""},
	{115, "UNKNOWN_SETTING", tableChanged, ""},
	{122, "INCOMPATIBLE_COLUMNS", tableChanged, ""},

	{60, "UNKNOWN_TABLE", needsOperator, "create the table (forebay schema apply), or mend shippers.clickhouse.table"},
	{81, "UNKNOWN_DATABASE", needsOperator, "create the database, or mend shippers.clickhouse.database"},
	{164, "READONLY", needsOperator, "give the user a profile that may write and change settings (readonly = 0)"},
	{192, "UNKNOWN_USER", needsOperator, "mend shippers.clickhouse.username"},
	{193, "WRONG_PASSWORD", needsOperator, "mend the password file"},
	{194, "REQUIRED_PASSWORD", needsOperator, "set shippers.clickhouse.password_file"},
	{195, "IP_ADDRESS_NOT_ALLOWED", needsOperator, "allow this node's address for the user"},
	{218, "TABLE_IS_DROPPED", needsOperator, "create the table (forebay schema apply)"},
	{242, "TABLE_IS_READ_ONLY", needsOperator, "bring the table's replica back to writing (look at system.replicas and the Keeper)"},
	{291, "DATABASE_ACCESS_DENIED", needsOperator, "allow the user this database"},
	{452, "SETTING_CONSTRAINT_VIOLATION", needsOperator, "let the user's profile change the settings that the message names"},
	{497, "ACCESS_DENIED", needsOperator, "grant the user SELECT and INSERT on the table"},
	{516, "AUTHENTICATION_FAILED", needsOperator, "mend shippers.clickhouse.username or its password file"},

	{6, "CANNOT_PARSE_TEXT", badRow, ""},
	{26, "CANNOT_PARSE_QUOTED_STRING", badRow, ""},
	{27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", badRow, ""},
	{38, "CANNOT_PARSE_DATE", badRow, ""},
	{41, "CANNOT_PARSE_DATETIME", badRow, ""},
	{69, "ARGUMENT_OUT_OF_BOUND", badRow, ""},
	{70, "CANNOT_CONVERT_TYPE", badRow, ""},
	{72, "CANNOT_PARSE_NUMBER", badRow, ""},
	{117, "INCORRECT_DATA", badRow, ""},
	{128, "TOO_LARGE_ARRAY_SIZE", badRow, ""},
	{131, "TOO_LARGE_STRING_SIZE", badRow, ""},
	{153, "ILLEGAL_DIVISION", badRow, ""},
	{321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", badRow, ""},
	{349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", badRow, ""},
	{376, "CANNOT_PARSE_UUID", badRow, ""},
	{395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", badRow, ""},
	{407, "DECIMAL_OVERFLOW", badRow, ""},
	{441, "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING", badRow, ""},
	{467, "CANNOT_PARSE_BOOL", badRow, ""},
	{469, "VIOLATED_CONSTRAINT", badRow, ""},
	{675, "CANNOT_PARSE_IPV4", badRow, ""},
	{676, "CANNOT_PARSE_IPV6", badRow, ""},
	{691, "UNKNOWN_ELEMENT_OF_ENUM", badRow, ""},
}

// serverError is an exception of the server, without values of events.
type serverError struct {
	number  int32
	name    string
	class   class
	advice  string
	message string
	view    string // the materialized view that failed, if one did
}

func (e *serverError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("ClickHouse says %d %s: %s", e.number, e.name, e.message))
}

var (
	viewInMessage = regexp.MustCompile(`while pushing to view ([^\s:,()]+)`)
	quotedText    = regexp.MustCompile(`'(?:[^'\\]|\\.)*'`)
)

// maxMessage bounds what is kept of a server's message, in bytes.
const maxMessage = 400

// explain turns what clickhouse-go returns into what operators may read: an
// exception becomes a *serverError, a failed request loses its long address.
func explain(err error) error {
	var e *driver.Exception
	if errors.As(err, &e) {
		out := &serverError{number: e.Code, name: e.CodeName, message: e.Message}
		for _, c := range codes {
			if c.number == e.Code {
				out.name, out.class, out.advice = c.name, c.class, c.advice
			}
		}
		if e.Code == 252 && strings.Contains(e.Message, "partitions for single INSERT block") {
			out.class = tooLarge
		}
		if m := viewInMessage.FindStringSubmatch(e.Message); m != nil {
			out.view = strings.TrimRight(strings.ReplaceAll(m[1], "`", ""), ".")
		}
		out.message = readable(e.Message, out.class == transient || out.class == badRow)
		return out
	}
	if strings.Contains(err.Error(), "Unknown setting client_protocol_version") {
		return &operatorError{"set shippers.clickhouse.protocol: native, and addrs to that port (usually 9000)",
			errors.New("this server is too old for protocol http")}
	}
	var h *driver.HTTPError
	if errors.As(err, &h) {
		return &statusError{h.StatusCode}
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// readable cuts a server's message to its first sentence or so. Messages
// about rows quote what is in them, which must reach no log.
func readable(message string, hideValues bool) string {
	message = strings.Join(strings.Fields(message), " ")
	for _, tail := range []string{"Stack trace:", "e.displayText() ="} {
		if i := strings.Index(message, tail); i > 0 {
			message = message[:i]
		}
	}
	if hideValues {
		message, _, _ = strings.Cut(message, "Column values:")
		message = quotedText.ReplaceAllStringFunc(message, func(quoted string) string {
			if strings.Contains(message, quoted+" setting") || strings.Contains(message, "etting "+quoted) {
				return quoted // the name of what an operator can change
			}
			return "'…'"
		})
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return strings.TrimSpace(message)
}

// statusError is an HTTP status of what is not ClickHouse, or does not say
// what is wrong. What a proxy writes on its pages is of no use.
type statusError struct{ status int }

func (e *statusError) Error() string {
	text := fmt.Sprintf("HTTP %d %s, without an exception of ClickHouse", e.status, http.StatusText(e.status))
	if e.status == http.StatusRequestEntityTooLarge {
		text += ": what is in between limits the size of a request (client_max_body_size in nginx)"
	}
	return text
}

// operatorError is a failure outside the server that only an operator can end.
type operatorError struct {
	advice string
	err    error
}

func (e *operatorError) Error() string { return e.err.Error() }
func (e *operatorError) Unwrap() error { return e.err }

// classify says what err asks for.
func classify(err error) (_ class, advice string) {
	var server *serverError
	if errors.As(err, &server) {
		return server.class, server.advice
	}
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusRequestEntityTooLarge {
		return tooLarge, ""
	}
	var operator *operatorError
	if errors.As(err, &operator) {
		return needsOperator, operator.advice
	}
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		path      *fs.PathError
	)
	switch {
	case errors.Is(err, errOtherColumns):
		return tableChanged, ""
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &verify):
		return needsOperator, "mend shippers.clickhouse.tls: this node does not trust the server's certificate"
	case errors.As(err, &path):
		return needsOperator, "mend the path or the permissions of the file"
	}
	return transient, ""
}

// about is err with the address that it is about, unless it says so itself.
func about(addr string, err error) error {
	if strings.Contains(err.Error(), addr) {
		return err
	}
	return fmt.Errorf("%s: %w", addr, err)
}
