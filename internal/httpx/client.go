package httpx

// Client fetches.
type Client struct{}
