//! Numbers that states, health systems and banks give to people and firms, with their check digits.
//!
//! One entry for each kind; a rule names it as its `validator`. Separators do not count: what is checked are the
//! letters (as capitals) and digits of the span. Functions are pure, and their cost is linear in at most
//! [`CHARS_MAX`] characters.

use super::{Verdict, number_continues};
use serde::Deserialize;

mod america;
mod asia;
mod europe;
mod north;
mod west;

/// Most letters and digits of such a number (the longest IBAN).
const CHARS_MAX: usize = 34;

/// Letters and digits of a candidate, letters as capitals.
pub(super) struct Chars {
    bytes: [u8; CHARS_MAX],
    digits: [u8; CHARS_MAX],
    len: usize,
    all_digits: bool,
}

impl Chars {
    /// `None` when there are none or too many.
    fn of(span: &str, read_as_digits: bool) -> Option<Chars> {
        let mut c = Chars { bytes: [0; CHARS_MAX], digits: [0; CHARS_MAX], len: 0, all_digits: true };
        for b in span.bytes().filter(u8::is_ascii_alphanumeric) {
            // Texts from scanned paper have O for 0, and l or I for 1.
            let b = match b {
                b'O' | b'o' if read_as_digits => b'0',
                b'l' | b'I' if read_as_digits => b'1',
                _ => b.to_ascii_uppercase(),
            };
            *c.bytes.get_mut(c.len)? = b;
            c.digits[c.len] = if b.is_ascii_digit() { b - b'0' } else { b - b'A' + 10 };
            c.all_digits &= b.is_ascii_digit();
            c.len += 1;
        }
        (c.len > 0).then_some(c)
    }

    /// Capitals and digits.
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Each character's value: digits as they are, letters from 10.
    fn values(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    /// The digits, when there are `N` and nothing else, not all the same.
    fn all<const N: usize>(&self) -> Option<&[u8; N]> {
        let digits: &[u8; N] = self.values().try_into().ok()?;
        (self.all_digits && digits.iter().any(|d| *d != digits[0])).then_some(digits)
    }

    /// True when each character is of the kind that `shape` has at its place: `A` letter, `9` digit, `*` either.
    fn is_shaped(&self, shape: &str) -> bool {
        self.len == shape.len()
            && self.bytes().iter().zip(shape.bytes()).all(|(b, kind)| match kind {
                b'A' => b.is_ascii_uppercase(),
                b'9' => b.is_ascii_digit(),
                _ => true,
            })
    }
}

/// Calls the check of each kind and says whether it may be read from scanned text.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident => $check:expr,)*) => {
        /// Kinds of numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            fn check(self, c: &Chars) -> Option<bool> {
                match self {
                    $(Kind::$name => $check(c),)*
                }
            }
        }
    };
}

kinds! {
    /// Australian business number.
    AuAbn => west::au_abn,
    /// Australian company number.
    AuAcn => west::au_acn,
    /// Australian tax file number.
    AuTfn => west::au_tfn,
    /// Australian Medicare card.
    AuMedicare => west::au_medicare,
    /// New Zealand inland revenue number.
    NzIrd => west::nz_ird,
    /// New Zealand national health index.
    NzNhi => west::nz_nhi,
    /// South African identity number.
    ZaId => west::za_id,
    /// Egyptian national number.
    EgId => west::eg_id,
    /// Nigerian national number: 11 digits.
    NgNin => west::ng_nin,
    /// US bank routing number.
    UsAba => america::us_aba,
    /// US taxpayer number of people without a social security number.
    UsItin => america::us_itin,
    /// US employer number.
    UsEin => america::us_ein,
    /// US social security number.
    UsSsnDigits => america::us_ssn,
    /// US provider number.
    UsNpi => america::us_npi,
    /// US drug enforcement registration.
    UsDea => america::us_dea,
    /// US Medicare beneficiary.
    UsMbi => america::us_mbi,
    /// Vehicle number with its North American check digit.
    Vin => america::vin,
    /// Canadian social insurance number.
    CaSin => america::ca_sin,
    /// Brazilian person.
    BrCpf => america::br_cpf,
    /// Brazilian firm.
    BrCnpj => america::br_cnpj,
    /// Argentine tax number.
    ArCuit => america::ar_cuit,
    /// Chilean tax number.
    ClRut => america::cl_rut,
    /// Colombian tax number.
    CoNit => america::co_nit,
    /// Ecuadorian identity card.
    EcCedula => america::ec_cedula,
    /// Peruvian tax number.
    PeRuc => america::pe_ruc,
    /// Mexican population key.
    MxCurp => america::mx_curp,
    /// Mexican tax number.
    MxRfc => america::mx_rfc,
    /// Mexican bank account.
    MxClabe => america::mx_clabe,
    /// British health number.
    UkNhs => west::uk_nhs,
    /// British insurance number.
    UkNino => west::uk_nino,
    /// British tax reference.
    UkUtr => west::uk_utr,
    /// British driving licence.
    UkDriving => west::uk_driving,
    /// British VAT.
    UkVat => west::uk_vat,
    /// British registration plate.
    UkPlate => west::uk_plate,
    /// Irish personal public service number.
    IePps => west::ie_pps,
    /// German tax number of a person.
    DeTaxId => europe::de_tax_id,
    /// German pension insurance number.
    DePension => europe::de_pension,
    /// German health insurance number.
    DeHealth => europe::de_health,
    /// German physician number.
    DeLanr => europe::de_lanr,
    /// German identity card or passport.
    DeDocument => europe::de_document,
    /// German VAT.
    DeVat => europe::de_vat,
    /// Austrian social insurance number.
    AtSvnr => europe::at_svnr,
    /// Swiss insurance number.
    ChAhv => europe::ch_ahv,
    /// French social security number.
    FrNir => europe::fr_nir,
    /// French firm.
    FrSiren => europe::fr_siren,
    /// French establishment.
    FrSiret => europe::fr_siret,
    /// French tax number of a person.
    FrSpi => europe::fr_spi,
    /// Belgian national number.
    BeNrn => europe::be_nrn,
    /// Dutch citizen service number.
    NlBsn => europe::nl_bsn,
    /// Spanish identity card.
    EsNif => europe::es_nif,
    /// Spanish number of foreigners.
    EsNie => europe::es_nie,
    /// Spanish firm.
    EsCif => europe::es_cif,
    /// Portuguese tax number.
    PtNif => europe::pt_nif,
    /// Italian tax code.
    ItFiscalCode => europe::it_fiscal_code,
    /// Italian VAT.
    ItVat => europe::it_vat,
    /// Greek social security number.
    GrAmka => europe::gr_amka,
    /// Greek tax number.
    GrAfm => europe::gr_afm,
    /// Polish person.
    PlPesel => north::pl_pesel,
    /// Polish tax number.
    PlNip => north::pl_nip,
    /// Polish firm.
    PlRegon => north::pl_regon,
    /// Polish identity card.
    PlIdCard => north::pl_id_card,
    /// Polish passport.
    PlPassport => north::pl_passport,
    /// Swedish person.
    SePersonnummer => north::se_personnummer,
    /// Swedish organisation.
    SeOrganisation => north::se_organisation,
    /// Finnish person.
    FiHetu => north::fi_hetu,
    /// Norwegian person.
    NoFodselsnummer => north::no_fodselsnummer,
    /// Danish person.
    DkCpr => north::dk_cpr,
    /// Icelandic person.
    IsKennitala => north::is_kennitala,
    /// Estonian or Lithuanian person.
    EeIsikukood => north::ee_isikukood,
    /// Latvian person.
    LvKods => north::lv_kods,
    /// Czech or Slovak person.
    CzRodneCislo => north::cz_rodne_cislo,
    /// Hungarian tax number of a person.
    HuTax => north::hu_tax,
    /// Romanian person.
    RoCnp => north::ro_cnp,
    /// Bulgarian person.
    BgEgn => north::bg_egn,
    /// Croatian person.
    HrOib => north::hr_oib,
    /// Person of Slovenia, Serbia and other states that were Yugoslavia.
    YuJmbg => north::yu_jmbg,
    /// Ukrainian tax number.
    UaTax => north::ua_tax,
    /// Russian tax number.
    RuInn => north::ru_inn,
    /// Russian insurance number.
    RuSnils => north::ru_snils,
    /// Kazakh person.
    KzIin => north::kz_iin,
    /// Turkish person.
    TrId => asia::tr_id,
    /// Israeli person.
    IlId => asia::il_id,
    /// Iranian person.
    IrId => asia::ir_id,
    /// Saudi person.
    SaId => asia::sa_id,
    /// Emirati person.
    AeId => asia::ae_id,
    /// Indian Aadhaar.
    InAadhaar => asia::in_aadhaar,
    /// Indian permanent account number.
    InPan => asia::in_pan,
    /// Indian goods and services tax number.
    InGstin => asia::in_gstin,
    /// Chinese person.
    CnId => asia::cn_id,
    /// Taiwanese person.
    TwId => asia::tw_id,
    /// Hong Kong person.
    HkId => asia::hk_id,
    /// Japanese person.
    JpMyNumber => asia::jp_my_number,
    /// Korean person or foreigner.
    KrRrn => asia::kr_rrn,
    /// Korean firm.
    KrBrn => asia::kr_brn,
    /// Singaporean person.
    SgNric => asia::sg_nric,
    /// Singaporean firm.
    SgUen => asia::sg_uen,
    /// Thai person.
    ThId => asia::th_id,
    /// Malaysian person.
    MyNric => asia::my_nric,
    /// Indonesian person.
    IdNik => asia::id_nik,
    /// Vietnamese person.
    VnCccd => asia::vn_cccd,
    /// Philippine tax number.
    PhTin => asia::ph_tin,
    /// Mobile device: 15 digits with Luhn.
    Imei => west::imei,
    /// Payment card of any issuer: Luhn.
    CardNamed => card,
    /// International bank account number, also from scanned paper.
    IbanScanned => iban,
}

fn card(c: &Chars) -> Option<bool> {
    let varied = c.values().iter().any(|d| *d != c.values()[0]);
    Some(c.all_digits && varied && (12..=19).contains(&c.len) && super::checksum::luhn(c.values()))
}

/// With the letters as they are, or O read as 0 and l and I as 1 behind the country.
fn iban(c: &Chars) -> Option<bool> {
    let country = c.bytes().get(..2)?.iter().all(u8::is_ascii_uppercase);
    let length = super::iban::length(c.bytes())?;
    let mut scanned = [0u8; CHARS_MAX];
    let scanned = scanned.get_mut(..c.len)?;
    scanned.copy_from_slice(c.bytes());
    for b in &mut scanned[2..] {
        *b = match *b {
            b'O' => b'0',
            b'L' | b'I' => b'1',
            other => other,
        };
    }
    let right = super::iban::mod_97;
    Some(country && length == c.len && (right(c.bytes()) || right(scanned)))
}

impl Kind {
    /// The exact end of a candidate whose pattern may run too far.
    pub(super) fn fit(self, span: &str) -> Option<usize> {
        if self != Kind::IbanScanned {
            return Some(span.len());
        }
        let length = super::iban::length(span.as_bytes())?;
        let end = span.bytes().enumerate().filter(|(_, b)| b.is_ascii_alphanumeric()).nth(length - 1)?.0;
        Some(end + 1)
    }

    /// Judges `text[start..end]`, which must not go on outside.
    pub(super) fn judge(self, text: &str, start: usize, end: usize) -> Verdict {
        let Some(span) = text.get(start..end) else { return Verdict::Reject };
        let goes_on = matches!(text.as_bytes().get(end..), Some([b'-', next, ..]) if next.is_ascii_digit());
        if goes_on || number_continues(text, start, end, b"./") {
            return Verdict::Reject;
        }
        if self.is_valid(span) { Verdict::Accept } else { Verdict::Reject }
    }

    fn is_valid(self, span: &str) -> bool {
        let scanned = matches!(self, Kind::PlPesel | Kind::PlNip | Kind::PlRegon);
        Chars::of(span, scanned).and_then(|c| self.check(&c)).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values published by the issuing bodies or made from their rules, and the same with one character changed.
    #[test]
    fn right_and_wrong() {
        for (id, right, wrong) in [
            (Kind::AuAbn, "51 824 753 556", "51 824 753 557"),
            (Kind::AuAcn, "005 499 981", "005 499 982"),
            (Kind::AuTfn, "876 543 210", "876 543 211"),
            (Kind::AuMedicare, "2123 45670 1", "2123 45671 1"),
            (Kind::NzIrd, "49-091-850", "49-091-851"),
            (Kind::ZaId, "8001015009087", "8001015009086"),
            (Kind::UsAba, "121042882", "121042883"),
            (Kind::UsItin, "911-70-1234", "911-93-1234"),
            (Kind::UsNpi, "1234567893", "1234567890"),
            (Kind::UsDea, "BB1388568", "BB1388569"),
            (Kind::UsMbi, "1EG4-TE5-MK73", "1EG4-LE5-MK73"),
            (Kind::Vin, "1M8GDM9AXKP042788", "1M8GDM9A1KP042788"),
            (Kind::CaSin, "130-692-544", "130-692-545"),
            (Kind::BrCpf, "529.982.247-25", "529.982.247-26"),
            (Kind::BrCnpj, "11.222.333/0001-81", "11.222.333/0001-82"),
            (Kind::ArCuit, "20-05536168-2", "20-05536168-3"),
            (Kind::ClRut, "12.531.909-2", "12.531.909-3"),
            (Kind::CoNit, "213.123.432-1", "213.123.432-2"),
            (Kind::PeRuc, "20512333797", "20512333798"),
            (Kind::MxCurp, "BOXW310820HNERXN09", "BOXW310820HNERXN08"),
            (Kind::MxClabe, "032180000118359719", "032180000118359718"),
            (Kind::UkNhs, "943 476 5919", "943 476 5918"),
            (Kind::UkNino, "AB 12 34 56 C", "GB 12 34 56 C"),
            (Kind::UkUtr, "1955839661", "2955839661"),
            (Kind::UkVat, "GB 980 7806 84", "GB 802 3116 22"),
            (Kind::IePps, "6433435F", "6433435E"),
            (Kind::DeTaxId, "36 574 261 809", "36 574 261 890"),
            (Kind::DePension, "15 070649 C 103", "15 070649 C 104"),
            (Kind::DeHealth, "A000500015", "A000500016"),
            (Kind::DeVat, "DE136695976", "DE136695978"),
            (Kind::AtSvnr, "1237 010180", "2237 010180"),
            (Kind::ChAhv, "756.9217.0769.85", "756.9217.0769.84"),
            (Kind::FrNir, "2 95 10 99 126 111 93", "2 95 10 99 126 111 94"),
            (Kind::FrSiren, "552 008 443", "552 008 444"),
            (Kind::FrSiret, "732 829 320 00074", "732 829 320 00075"),
            (Kind::BeNrn, "85.07.30-033 28", "85.07.30-033 29"),
            (Kind::NlBsn, "111222333", "111252333"),
            (Kind::EsNif, "12345678Z", "12345678A"),
            (Kind::EsNie, "X9613851N", "X9613851M"),
            (Kind::EsCif, "A58818501", "A58818502"),
            (Kind::PtNif, "501 964 843", "501 964 842"),
            (Kind::ItFiscalCode, "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
            (Kind::ItVat, "01333550323", "01333550324"),
            (Kind::GrAmka, "01013099997", "01013099998"),
            (Kind::GrAfm, "094259216", "094259217"),
            (Kind::PlPesel, "44051401458", "44051401459"),
            (Kind::PlPesel, "44O5l4Ol458", "44O5l4Ol459"),
            (Kind::PlNip, "526-104-08-28", "526-104-08-29"),
            (Kind::PlRegon, "192598184", "192598183"),
            (Kind::PlIdCard, "ABA300000", "ABA400000"),
            (Kind::SePersonnummer, "811228-9874", "811228-9873"),
            (Kind::SeOrganisation, "556703-7485", "556703-7486"),
            (Kind::FiHetu, "131052-308T", "131052-308U"),
            (Kind::NoFodselsnummer, "15108695088", "15108695077"),
            (Kind::DkCpr, "211062-5629", "331062-5629"),
            (Kind::IsKennitala, "120174-3399", "120174-3389"),
            (Kind::EeIsikukood, "37605030299", "37605030298"),
            (Kind::CzRodneCislo, "710319/2745", "710319/2746"),
            (Kind::RoCnp, "1630615123457", "1630615123458"),
            (Kind::BgEgn, "752316 926 3", "752316 926 4"),
            (Kind::HrOib, "33392005961", "33392005962"),
            (Kind::YuJmbg, "0101006500006", "0101006500007"),
            (Kind::UaTax, "1759013776", "1759013777"),
            (Kind::RuInn, "500100732259", "500100732258"),
            (Kind::RuInn, "7707083893", "7707083894"),
            (Kind::RuSnils, "112-233-445 95", "112-233-445 96"),
            (Kind::TrId, "17291716060", "17291716050"),
            (Kind::IlId, "3933742-3", "3933742-4"),
            (Kind::IrId, "0939092001", "0939092002"),
            (Kind::InAadhaar, "2345 6789 0124", "2345 6789 0123"),
            (Kind::InPan, "ABCPD1234Z", "ABCXD1234Z"),
            (Kind::InGstin, "27AAPFU0939F1ZV", "45AAPFU0939F1ZV"),
            (Kind::CnId, "11010519491231002X", "110105194912310021"),
            (Kind::TwId, "A123456789", "A123456788"),
            (Kind::HkId, "A123456(3)", "A123456(4)"),
            (Kind::KrBrn, "116-82-00276", "116-82-00277"),
            (Kind::SgNric, "S1234567D", "S1234567A"),
            (Kind::ThId, "3100600445635", "3100600445636"),
            (Kind::JpMyNumber, "1234 5678 9018", "1234 5678 9017"),
            (Kind::Imei, "490154203237518", "490154203237519"),
            (Kind::IbanScanned, "PLl0 1050 0099 7603 1234 5678 9l23", "PL10 1050 0099 7603 1234 5678 9124"),
        ] {
            assert!(id.is_valid(right), "{id:?} {right}");
            assert!(!id.is_valid(wrong), "{id:?} {wrong}");
        }
    }

    #[test]
    fn odd_spans_are_refused() {
        for text in ["", "-", "é", "0", "1111111111111111111111111111111111111111", "ABCDEFGHIJK"] {
            assert!(!Kind::PlPesel.is_valid(text) && !Kind::ItFiscalCode.is_valid(text), "{text}");
        }
    }
}
