package io.dsmstt;

import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.NameResolverRegistry;
import io.grpc.StatusOr;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Set;

/** A name that stands for several addresses, as that of a headless Service in Kubernetes does. */
final class Addresses extends NameResolverProvider {
  private final List<EquivalentAddressGroup> groups;

  private Addresses(List<EquivalentAddressGroup> groups) {
    this.groups = groups;
  }

  /** Returns a target for clients; of its addresses, each host:port, the first that answers is used. */
  static String oneAfterTheOther(String... addresses) {
    NameResolverRegistry.getDefaultRegistry()
        .register(new Addresses(Arrays.stream(addresses).map(Addresses::group).toList()));
    return "dsm-test:///speech";
  }

  private static EquivalentAddressGroup group(String address) {
    int colon = address.lastIndexOf(':');
    return new EquivalentAddressGroup(
        new InetSocketAddress(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1))));
  }

  @Override
  public NameResolver newNameResolver(URI target, NameResolver.Args args) {
    return new NameResolver() {
      @Override
      public String getServiceAuthority() {
        return "localhost";
      }

      @Override
      public void start(Listener2 listener) {
        answer(listener);
      }

      @Override
      public void shutdown() {}
    };
  }

  private void answer(NameResolver.Listener2 listener) {
    listener.onResult(
        NameResolver.ResolutionResult.newBuilder().setAddressesOrError(StatusOr.fromValue(groups)).build());
  }

  @Override
  public String getDefaultScheme() {
    return "dsm-test";
  }

  @Override
  public Collection<Class<? extends SocketAddress>> getProducedSocketAddressTypes() {
    return Set.of(InetSocketAddress.class);
  }

  @Override
  protected boolean isAvailable() {
    return true;
  }

  @Override
  protected int priority() {
    return 5;
  }
}
