package dsmstt_test

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// oneAfterTheOther resolves dsm-test:///… to several addresses, of which the first that answers is used.
func oneAfterTheOther(addresses ...string) grpc.DialOption {
	names := manual.NewBuilderWithScheme("dsm-test")
	var state resolver.State
	for _, address := range addresses {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	names.InitialState(state)
	return grpc.WithResolvers(names)
}
