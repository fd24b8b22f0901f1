package event

// Reason says why a request or an event was dropped. Each drop has exactly one.
type Reason uint8

// The first five drop a whole request, the last four one event of a request
// that was decoded.
const (
	None         Reason = iota // not dropped
	Malformed                  // the body could not be read or is not what the path takes
	Unauthorized               // no key, an unknown, revoked or expired one, or a foreign origin
	RateLimited                // the key's bucket, or for unknown keys the address's, is empty
	TooLarge                   // more bytes or more events than a request may bring
	Overloaded                 // the node had no room for it
	Invalid                    // the event breaks a rule of validation
	Privacy                    // the event holds personal data
	Duplicate                  // its idempotency key was accepted before
	Storage                    // the log did not take it

	// ReasonCount is the number of reasons, None included.
	ReasonCount
)

var reasonNames = [ReasonCount]string{
	None: "none", Malformed: "malformed", Unauthorized: "unauthorized", RateLimited: "rate_limited",
	TooLarge: "too_large", Overloaded: "overloaded", Invalid: "invalid", Privacy: "privacy",
	Duplicate: "duplicate", Storage: "storage",
}

// String returns the name used on the wire, in metrics and in the ledger.
func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

// RequestReasons lists the reasons that drop a whole request.
func RequestReasons() []Reason {
	return []Reason{Malformed, Unauthorized, RateLimited, TooLarge, Overloaded}
}

// EventReasons lists the reasons that drop one event of a decoded request.
func EventReasons() []Reason { return []Reason{Invalid, Privacy, Duplicate, Storage} }

// Rule names the exact check that refused something, for operators and strict
// senders. It never holds anything that was sent.
type Rule string

// Rules of the decoder and of validation.
const (
	RuleSyntax       Rule = "syntax"           // not JSON
	RuleType         Rule = "type"             // JSON of another type than the field's
	RuleMissing      Rule = "missing"          // a required field is absent, null or empty
	RuleUTF8         Rule = "utf8"             // a string is not UTF-8
	RuleSurrogate    Rule = "surrogate"        // half of a surrogate pair
	RuleDuplicateKey Rule = "duplicate_key"    // an object names a member twice
	RuleDepth        Rule = "depth"            // objects and arrays nest too deep
	RuleStringLength Rule = "string_length"    // a string has too many bytes
	RuleNumber       Rule = "number"           // a number is too long, or too large for a double
	RuleControl      Rule = "control"          // a control character
	RuleEventBytes   Rule = "event_bytes"      // the event has too many bytes
	RuleEventType    Rule = "event_type"       // eventType is not in the allow-list
	RuleTimestamp    Rule = "timestamp_format" // not RFC 3339, or a leap second
	RuleFuture       Rule = "timestamp_future" // too far ahead of the node's clock
	RuleOld          Rule = "timestamp_old"    // too old
	RuleBatchBytes   Rule = "batch_bytes"      // the decoded body has too many bytes
	RuleBatchEvents  Rule = "batch_events"     // the body has too many events
	RuleMembers      Rule = "members"          // the body has too many members, its events included
)

// Refusal is why something was dropped: its reason, the field it was found in
// (a path such as "metadata.note", or empty for the whole) and the rule. It
// never holds a value. The zero Refusal means that nothing is wrong.
type Refusal struct {
	Reason Reason
	Field  string
	Rule   Rule
}

// Refused reports whether there is a refusal.
func (r Refusal) Refused() bool { return r.Reason != None }
