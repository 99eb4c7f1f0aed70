//! Owns the keys of TLS, SASL, delegation tokens, password encoding and the authorizer.

use super::{NO_SECURITY, PRINCIPAL_BUILDERS, SSL_ENGINES, keys};

keys! {
    "authorizer.class.name" String = "", NonNull, Low, ReadOnly, refused("ACLs are not enforced by this version"):
        "Authorizer class; ZK clusters use kafka.security.authorizer.AclAuthorizer; empty disables authorization.";
    "connections.max.reauth.ms" Long = "0", Any, Medium, ReadOnly, of_mechanism(), no_effect(NO_SECURITY):
        "SASL session lifetime; >0 forces re-authentication; per listener and mechanism prefix allowed.";
    "delegation.token.expiry.check.interval.ms" Long = "3600000", AtLeast(1.0), Low, ReadOnly, no_effect(NO_SECURITY):
        "How often expired delegation tokens are removed.";
    "delegation.token.expiry.time.ms" Long = "86400000", AtLeast(1.0), Medium, ReadOnly, no_effect(NO_SECURITY):
        "Token lifetime until it must be renewed.";
    "delegation.token.master.key" Password = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Deprecated alias of delegation.token.secret.key.";
    "delegation.token.max.lifetime.ms" Long = "604800000", AtLeast(1.0), Medium, ReadOnly, no_effect(NO_SECURITY):
        "Hard upper bound of a token's life, renewals included.";
    "delegation.token.secret.key" Password = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Secret for token HMACs; identical on all brokers; unset disables delegation tokens.";
    "password.encoder.cipher.algorithm" String = "AES/CBC/PKCS5Padding", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Cipher for dynamic passwords stored in ZK.";
    "password.encoder.iterations" Int = "4096", AtLeast(1024.0), Low, ReadOnly, no_effect(NO_SECURITY):
        "PBKDF2 iterations for the password encoder.";
    "password.encoder.key.length" Int = "128", AtLeast(8.0), Low, ReadOnly, no_effect(NO_SECURITY):
        "Key length for the password encoder.";
    "password.encoder.keyfactory.algorithm" String = null, Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Key factory; null picks PBKDF2WithHmacSHA512 or SHA1.";
    "password.encoder.old.secret" Password = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Previous secret used once to re-encode stored passwords.";
    "password.encoder.secret" Password = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Secret protecting dynamic password configs in ZK; required to set them.";
    "principal.builder.class" Class =
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
        Classes(PRINCIPAL_BUILDERS), Medium, PerBroker,
        no_effect(NO_SECURITY): "Builds KafkaPrincipal from TLS/SASL context; must implement KafkaPrincipalSerde.";
    "sasl.client.callback.handler.class" Class = null, Classes(&[]), Medium, ReadOnly, no_effect(NO_SECURITY):
        "Client-side callback class for inter-broker SASL.";
    "sasl.jaas.config" Password = null, Any, Medium, PerBroker, of_mechanism(), no_effect(NO_SECURITY):
        "JAAS entry; on brokers set as listener.name.<l>.<mechanism>.sasl.jaas.config.";
    "sasl.kerberos.kinit.cmd" String = "/usr/bin/kinit", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Kinit path for Kerberos login refresh.";
    "sasl.kerberos.min.time.before.relogin" Long = "60000", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Shortest pause between Kerberos refreshes.";
    "sasl.kerberos.principal.to.local.rules" List = "DEFAULT", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Auth_to_local rules mapping Kerberos principals to user names.";
    "sasl.kerberos.service.name" String = null, Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Kerberos service name of the brokers.";
    "sasl.kerberos.ticket.renew.jitter" Double = "0.05", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Random part of ticket renewal time.";
    "sasl.kerberos.ticket.renew.window.factor" Double = "0.8", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Share of ticket life before renewal.";
    "sasl.login.callback.handler.class" Class = null, Classes(&[]), Medium, ReadOnly, of_mechanism(),
        no_effect(NO_SECURITY): "Login callback class per listener and mechanism.";
    "sasl.login.class" Class = null, Classes(&[]), Medium, ReadOnly, of_mechanism(), no_effect(NO_SECURITY):
        "Login class per listener and mechanism.";
    "sasl.login.connect.timeout.ms" Int = null, Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "OAUTHBEARER HTTP connect timeout.";
    "sasl.login.read.timeout.ms" Int = null, Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "OAUTHBEARER HTTP read timeout.";
    "sasl.login.refresh.buffer.seconds" Short = "300", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "OAUTHBEARER refresh margin before expiry.";
    "sasl.login.refresh.min.period.seconds" Short = "60", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "OAUTHBEARER shortest refresh period.";
    "sasl.login.refresh.window.factor" Double = "0.8", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "OAUTHBEARER share of life before refresh.";
    "sasl.login.refresh.window.jitter" Double = "0.05", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "OAUTHBEARER refresh jitter.";
    "sasl.login.retry.backoff.max.ms" Long = "10000", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "OAUTHBEARER retry ceiling.";
    "sasl.login.retry.backoff.ms" Long = "100", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "OAUTHBEARER first retry pause.";
    "sasl.oauthbearer.clock.skew.seconds" Int = "30", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Allowed clock difference when validating JWTs.";
    "sasl.oauthbearer.expected.audience" List = null, Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Audiences accepted in JWTs.";
    "sasl.oauthbearer.expected.issuer" String = null, Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Issuer required in JWTs.";
    "sasl.oauthbearer.jwks.endpoint.refresh.ms" Long = "3600000", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "JWKS cache refresh period.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms" Long = "10000", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "JWKS fetch retry ceiling.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms" Long = "100", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "JWKS fetch first retry pause.";
    "sasl.oauthbearer.jwks.endpoint.url" String = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Where JWT signing keys are read (https or file).";
    "sasl.oauthbearer.scope.claim.name" String = "scope", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "JWT claim holding scopes.";
    "sasl.oauthbearer.sub.claim.name" String = "sub", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "JWT claim holding the principal.";
    "sasl.oauthbearer.token.endpoint.url" String = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Token endpoint for broker logins.";
    "sasl.server.callback.handler.class" Class = null, Classes(&[]), Medium, ReadOnly, of_mechanism(),
        no_effect(NO_SECURITY): "Server callback class per listener and mechanism.";
    "sasl.server.max.receive.size" Int = "524288", Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Largest message accepted before SASL authentication completes.";
    "security.providers" String = null, Any, Low, ReadOnly, no_effect(NO_SECURITY): "JVM security provider creators.";
    "ssl.allow.dn.changes" Boolean = "false", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Allow distinguished-name change when keystore reloads.";
    "ssl.allow.san.changes" Boolean = "false", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Allow SAN change when keystore reloads.";
    "ssl.cipher.suites" List = "", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Allowed cipher suites; empty means JVM defaults.";
    "ssl.client.auth" String = "none", OneOf(&["required", "requested", "none"]), Medium, PerBroker,
        no_effect(NO_SECURITY): "Client certificate: none, requested or required; per listener.";
    "ssl.enabled.protocols" List = "TLSv1.2,TLSv1.3", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "TLS versions offered.";
    "ssl.endpoint.identification.algorithm" String = "https", Any, Low, PerBroker, no_effect(NO_SECURITY):
        "Host name check of outgoing TLS; empty disables.";
    "ssl.engine.factory.class" Class = null, Classes(SSL_ENGINES), Low, PerBroker, no_effect(NO_SECURITY):
        "Custom SSLEngine factory plugin.";
    "ssl.key.password" Password = null, Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "Password of the private key.";
    "ssl.keymanager.algorithm" String = "SunX509", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Key manager algorithm.";
    "ssl.keystore.certificate.chain" Password = null, Any, Medium, PerBroker, only_of_listener(),
        no_effect(NO_SECURITY): "PEM certificate chain inline.";
    "ssl.keystore.key" Password = null, Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "PEM PKCS#8 private key inline.";
    "ssl.keystore.location" String = null, Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "Key store file (JKS, PKCS12 or PEM).";
    "ssl.keystore.password" Password = null, Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "Key store password; not used for PEM.";
    "ssl.keystore.type" String = "JKS", Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "JKS, PKCS12 or PEM.";
    "ssl.principal.mapping.rules" String = "DEFAULT", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Rules turning the certificate DN into a user name.";
    "ssl.protocol" String = "TLSv1.3", Any, Medium, PerBroker, no_effect(NO_SECURITY): "SSLContext protocol name.";
    "ssl.provider" String = null, Any, Medium, PerBroker, no_effect(NO_SECURITY): "JVM security provider for TLS.";
    "ssl.secure.random.implementation" String = null, Any, Low, PerBroker, no_effect(NO_SECURITY):
        "SecureRandom algorithm.";
    "ssl.trustmanager.algorithm" String = "PKIX", Any, Medium, PerBroker, no_effect(NO_SECURITY):
        "Trust manager algorithm.";
    "ssl.truststore.certificates" Password = null, Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "PEM trusted certificates inline.";
    "ssl.truststore.location" String = null, Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "Trust store file.";
    "ssl.truststore.password" Password = null, Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "Trust store password.";
    "ssl.truststore.type" String = "JKS", Any, Medium, PerBroker, only_of_listener(), no_effect(NO_SECURITY):
        "JKS, PKCS12 or PEM.";
    "zookeeper.clientCnxnSocket" String = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Netty socket class needed for TLS to ZK.";
    "zookeeper.ssl.cipher.suites" List = null, Any, Low, ReadOnly, no_effect(NO_SECURITY): "Cipher suites for ZK TLS.";
    "zookeeper.ssl.crl.enable" Boolean = "false", Any, Low, ReadOnly, no_effect(NO_SECURITY): "Check CRLs on ZK TLS.";
    "zookeeper.ssl.enabled.protocols" List = null, Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "TLS versions towards ZK.";
    "zookeeper.ssl.endpoint.identification.algorithm" String = "HTTPS", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "Host name check for ZK TLS; empty disables.";
    "zookeeper.ssl.keystore.location" String = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Client key store for ZK TLS.";
    "zookeeper.ssl.keystore.password" Password = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY): "Its password.";
    "zookeeper.ssl.keystore.type" String = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Its type; null detects by extension.";
    "zookeeper.ssl.ocsp.enable" Boolean = "false", Any, Low, ReadOnly, no_effect(NO_SECURITY): "Check OCSP on ZK TLS.";
    "zookeeper.ssl.protocol" String = "TLSv1.2", Any, Low, ReadOnly, no_effect(NO_SECURITY):
        "SSLContext protocol for ZK TLS.";
    "zookeeper.ssl.truststore.location" String = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Trust store for ZK TLS.";
    "zookeeper.ssl.truststore.password" Password = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY): "Its password.";
    "zookeeper.ssl.truststore.type" String = null, Any, Medium, ReadOnly, no_effect(NO_SECURITY):
        "Its type; null detects by extension.";
}
