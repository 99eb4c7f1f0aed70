//! Owns JAAS files: this process's credentials. Pure. Java: `javax.security.auth.login.Configuration`.
//!
//! ```text
//! Client {
//!   org.apache.zookeeper.server.auth.DigestLoginModule required
//!   username="kafka"
//!   password="secret";
//! };
//! ```

use std::collections::BTreeMap;

/// One entry of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginModule {
    /// Java class name.
    pub class: String,
    pub options: BTreeMap<String, String>,
}

/// The modules of each section, by its name.
pub type Sections = BTreeMap<String, Vec<LoginModule>>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JaasError {
    #[error("line {line}: expected {expected}, found {found}")]
    Unexpected { line: usize, expected: &'static str, found: String },
    #[error("line {line}: a quoted value or a comment does not end")]
    Unterminated { line: usize },
    #[error("section {0} is there twice")]
    Twice(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    /// One of `{ } = ;`
    Mark(char),
    End,
}

struct Tokens<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl Tokens<'_> {
    fn bump(&mut self) -> Option<char> {
        let c = self.rest.next();
        if c == Some('\n') {
            self.line += 1;
        }
        c
    }

    fn next(&mut self) -> Result<Token, JaasError> {
        loop {
            match self.bump() {
                None => return Ok(Token::End),
                Some(c) if c.is_whitespace() => {}
                Some('#') => self.skip_line(),
                Some('/') if self.rest.peek() == Some(&'/') => self.skip_line(),
                Some('/') if self.rest.peek() == Some(&'*') => self.skip_comment()?,
                Some(c @ ('{' | '}' | '=' | ';')) => return Ok(Token::Mark(c)),
                Some(quote @ ('"' | '\'')) => return self.quoted(quote),
                Some(first) => {
                    let mut word = String::from(first);
                    while let Some(c) = self.rest.next_if(|c| !c.is_whitespace() && !"{}=;\"'".contains(*c)) {
                        word.push(c);
                    }
                    return Ok(Token::Word(word));
                }
            }
        }
    }

    fn skip_line(&mut self) {
        while self.bump().is_some_and(|c| c != '\n') {}
    }

    fn skip_comment(&mut self) -> Result<(), JaasError> {
        let line = self.line;
        let mut last = ' ';
        self.bump();
        while let Some(c) = self.bump() {
            if (last, c) == ('*', '/') {
                return Ok(());
            }
            last = c;
        }
        Err(JaasError::Unterminated { line })
    }

    fn quoted(&mut self, quote: char) -> Result<Token, JaasError> {
        let line = self.line;
        let mut text = String::new();
        loop {
            match self.bump() {
                Some(c) if c == quote => return Ok(Token::Quoted(text)),
                Some('\\') => text.push(self.bump().ok_or(JaasError::Unterminated { line })?),
                Some('\n') | None => return Err(JaasError::Unterminated { line }),
                Some(c) => text.push(c),
            }
        }
    }

    fn unexpected<T>(&self, expected: &'static str, found: Token) -> Result<T, JaasError> {
        let found = match found {
            Token::Word(text) => text,
            // It may be a password.
            Token::Quoted(_) => "a quoted value".to_owned(),
            Token::Mark(mark) => mark.to_string(),
            Token::End => "the end".to_owned(),
        };
        Err(JaasError::Unexpected { line: self.line, expected, found })
    }

    fn expect(&mut self, mark: char, expected: &'static str) -> Result<(), JaasError> {
        match self.next()? {
            Token::Mark(c) if c == mark => Ok(()),
            other => self.unexpected(expected, other),
        }
    }
}

/// Reads a whole file. The control flag of a module (`required`) is checked and dropped: no section of Kafka uses it.
pub fn parse(text: &str) -> Result<Sections, JaasError> {
    let mut tokens = Tokens { rest: text.chars().peekable(), line: 1 };
    let mut sections = Sections::new();
    loop {
        let name = match tokens.next()? {
            Token::End => return Ok(sections),
            Token::Word(name) | Token::Quoted(name) => name,
            other => return tokens.unexpected("the name of a section", other),
        };
        tokens.expect('{', "{")?;
        let mut modules = Vec::new();
        loop {
            match tokens.next()? {
                Token::Mark('}') => break,
                Token::Word(class) => modules.push(module(&mut tokens, class)?),
                other => return tokens.unexpected("a login module or }", other),
            }
        }
        tokens.expect(';', "; after the section")?;
        if sections.contains_key(&name) {
            return Err(JaasError::Twice(name));
        }
        sections.insert(name, modules);
    }
}

fn module(tokens: &mut Tokens<'_>, class: String) -> Result<LoginModule, JaasError> {
    match tokens.next()? {
        Token::Word(flag)
            if ["required", "requisite", "sufficient", "optional"].contains(&&*flag.to_ascii_lowercase()) => {}
        other => return tokens.unexpected("required, requisite, sufficient or optional", other),
    }
    let mut options = BTreeMap::new();
    loop {
        let key = match tokens.next()? {
            Token::Mark(';') => return Ok(LoginModule { class, options }),
            Token::Word(key) | Token::Quoted(key) => key,
            other => return tokens.unexpected("an option or ;", other),
        };
        tokens.expect('=', "= after the option's name")?;
        match tokens.next()? {
            Token::Word(value) | Token::Quoted(value) => {
                options.insert(key, value);
            }
            other => return tokens.unexpected("a value", other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"
        // who we are to ZooKeeper
        Client {
           org.apache.zookeeper.server.auth.DigestLoginModule required
           username="kafka" /* the user */
           password="se\"cret; }";
        };
        KafkaServer {
           org.apache.kafka.common.security.plain.PlainLoginModule REQUIRED username=a password='b c';
           org.apache.kafka.common.security.scram.ScramLoginModule optional;
        };
    "#;

    #[test]
    fn sections_modules_and_options_are_read() {
        let sections = parse(FILE).unwrap();
        let client = &sections["Client"][0];
        assert_eq!(client.class, "org.apache.zookeeper.server.auth.DigestLoginModule");
        assert_eq!(client.options["username"], "kafka");
        assert_eq!(client.options["password"], "se\"cret; }");
        assert_eq!(sections["KafkaServer"].len(), 2);
        assert_eq!(sections["KafkaServer"][0].options["password"], "b c");
        assert!(sections["KafkaServer"][1].options.is_empty());
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_never_with_a_secret() {
        let unexpected = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            unexpected("Client {\n a.B needed;\n};"),
            "line 2: expected required, requisite, sufficient or optional, found needed"
        );
        assert_eq!(
            unexpected("Client { a.B required \"secret\" };"),
            "line 1: expected = after the option's name, found }"
        );
        assert_eq!(
            unexpected("Client { a.B required p=\"x\n\"; };"),
            "line 1: a quoted value or a comment does not end"
        );
        assert_eq!(unexpected("Client { }"), "line 1: expected ; after the section, found the end");
        assert_eq!(unexpected("A { }; A { };"), "section A is there twice");
        assert_eq!(unexpected("A { \"secret\" };"), "line 1: expected a login module or }, found a quoted value");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z{}=;\"'/*# \\n\\\\.]{0,80}") {
            drop(parse(&text));
        }
    }
}
